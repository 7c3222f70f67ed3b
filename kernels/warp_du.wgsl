// Gradient of warp for the displacement: ū[n,·,p] = Mᵀ · Σ_c ȳ[n,c,p] · ∂image[n,c]/∂x at x = M·(p + u[n,p]); 0 along clamped axes.
// One invocation: one voxel p, all channels. Layout and sampling as in warp.wgsl.
// @use trilinear
// @use matrix
// @use batch
struct Params {
  image_w: u32, image_h: u32, image_d: u32, w: u32, h: u32, d: u32,
  m00: f32, m01: f32, m02: f32, m03: f32, m10: f32, m11: f32, m12: f32, m13: f32, m20: f32, m21: f32, m22: f32, m23: f32,
}
@group(0) @binding(0) var<storage, read> image: array<f32>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> du: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

fn slope(o: u32, c: Cell) -> vec3f {
  let i = o + c.base;
  let j = i + c.step.z;
  let v000 = image[i]; let v001 = image[i + c.step.x]; let v010 = image[i + c.step.y]; let v011 = image[i + c.step.y + c.step.x];
  let v100 = image[j]; let v101 = image[j + c.step.x]; let v110 = image[j + c.step.y]; let v111 = image[j + c.step.y + c.step.x];
  let low = mix(v000, v001, c.at.x); let mid = mix(v010, v011, c.at.x);
  let high = mix(v100, v101, c.at.x); let top = mix(v110, v111, c.at.x);
  return vec3f(
    mix(mix(v001 - v000, v011 - v010, c.at.y), mix(v101 - v100, v111 - v110, c.at.y), c.at.z),
    mix(mid - low, top - high, c.at.z),
    mix(high, top, c.at.y) - mix(low, mid, c.at.y));
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w * params.h) { return; }
  let n = batch_of(id.z, params.d);
  let d = id.z - n * params.d;
  let h = quotient(id.x, params.w);
  let w = id.x - h * params.w;
  let voxels = params.w * params.h * params.d;
  let p = d * params.h * params.w + id.x;
  let q = vec3f(f32(w), f32(h), f32(d))
    + vec3f(u[n * 3u * voxels + p], u[(n * 3u + 1u) * voxels + p], u[(n * 3u + 2u) * voxels + p]);
  let size = vec3u(params.image_w, params.image_h, params.image_d);
  let cell = locate(mapped(q), size);
  var g = vec3f(0.0);
  for (var k = 0u; k < CHANNELS; k++) {
    let c = n * CHANNELS + k;
    g += dy[c * voxels + p] * slope(c * size.x * size.y * size.z, cell);
  }
  g *= cell.free;
  let out = rows() * g;
  du[n * 3u * voxels + p] = out.x;
  du[(n * 3u + 1u) * voxels + p] = out.y;
  du[(n * 3u + 2u) * voxels + p] = out.z;
}
