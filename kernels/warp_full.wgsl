// The result at full resolution from a level's displacement v, in one pass and without storing it on the way: with
// u(p) = s·v at ((p + ½)/s − ½), trilinear, in voxels of the full grid, and q = p + u(p):
//   warped[p] = image at N·q (trilinear; `outside` where that is beyond its voxels), displacement[p] = M·q − p, a component to a buffer.
// M (3×4) is an affine map in voxels of the full grid, N one to voxels of the image. Layout v [1, 3, d, h, w], the rest
// [1, 1, D, H, W]. One invocation: one voxel of the full grid.
// @use trilinear
// @use batch
struct Params {
  level_w: u32, level_h: u32, level_d: u32, image_w: u32, image_h: u32, image_d: u32, w: u32, h: u32, d: u32,
  m00: f32, m01: f32, m02: f32, m03: f32, m10: f32, m11: f32, m12: f32, m13: f32, m20: f32, m21: f32, m22: f32, m23: f32,
  n00: f32, n01: f32, n02: f32, n03: f32, n10: f32, n11: f32, n12: f32, n13: f32, n20: f32, n21: f32, n22: f32, n23: f32, outside: f32,
}
@group(0) @binding(0) var<storage, read> v: array<f32>;
@group(0) @binding(1) var<storage, read> image: array<f32>;
@group(0) @binding(2) var<storage, read_write> displacement_w: array<f32>;
@group(0) @binding(3) var<storage, read_write> displacement_h: array<f32>;
@group(0) @binding(4) var<storage, read_write> displacement_d: array<f32>;
@group(0) @binding(5) var<storage, read_write> warped: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn blend(a: vec4f, b: vec4f, at: vec3f) -> f32 {
  let low = mix(mix(a.x, a.y, at.x), mix(a.z, a.w, at.x), at.y);
  return mix(low, mix(mix(b.x, b.y, at.x), mix(b.z, b.w, at.x), at.y), at.z);
}

fn sample_v(o: u32, c: Cell) -> f32 {
  let i = o + c.base;
  let j = i + c.step.z;
  return blend(vec4f(v[i], v[i + c.step.x], v[i + c.step.y], v[i + c.step.y + c.step.x]),
    vec4f(v[j], v[j + c.step.x], v[j + c.step.y], v[j + c.step.y + c.step.x]), c.fraction);
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w * params.h) { return; }
  let h = quotient(id.x, params.w);
  let p = vec3f(f32(id.x - h * params.w), f32(h), f32(id.z));
  let level = vec3u(params.level_w, params.level_h, params.level_d);
  let s = vec3f(f32(params.w), f32(params.h), f32(params.d)) / vec3f(level);
  let cell = locate((p + 0.5) / s - 0.5, level);
  let voxels = level.x * level.y * level.z;
  let u = s * vec3f(sample_v(0u, cell), sample_v(voxels, cell), sample_v(2u * voxels, cell));
  let i = id.z * params.h * params.w + id.x;
  // M·q − p as (M − I)·p + M₃ₓ₃·u + t: nothing is lost to the size of p when M is close to the identity.
  let m0 = vec3f(params.m00, params.m01, params.m02);
  let m1 = vec3f(params.m10, params.m11, params.m12);
  let m2 = vec3f(params.m20, params.m21, params.m22);
  displacement_w[i] = dot(m0 - vec3f(1.0, 0.0, 0.0), p) + dot(m0, u) + params.m03;
  displacement_h[i] = dot(m1 - vec3f(0.0, 1.0, 0.0), p) + dot(m1, u) + params.m13;
  displacement_d[i] = dot(m2 - vec3f(0.0, 0.0, 1.0), p) + dot(m2, u) + params.m23;
  let q = p + u;
  let x = vec3f(dot(vec3f(params.n00, params.n01, params.n02), q) + params.n03,
    dot(vec3f(params.n10, params.n11, params.n12), q) + params.n13, dot(vec3f(params.n20, params.n21, params.n22), q) + params.n23);
  let image_size = vec3u(params.image_w, params.image_h, params.image_d);
  if (any(x < vec3f(-0.5)) || any(x > vec3f(image_size) - 0.5)) { warped[i] = params.outside; return; }
  let c = locate(x, image_size);
  let j = c.base + c.step.z;
  warped[i] = blend(vec4f(image[c.base], image[c.base + c.step.x], image[c.base + c.step.y], image[c.base + c.step.y + c.step.x]),
    vec4f(image[j], image[j + c.step.x], image[j + c.step.y], image[j + c.step.y + c.step.x]), c.fraction);
}
