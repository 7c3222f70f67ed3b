// y[n,c,p] = image[n,c] at x = M·(p + u[n,p]), trilinear (or nearest), border clamped. One invocation: one voxel p, all channels.
// Layout [N, C, D, H, W]; u holds (w, h, d) in voxels, and is 0 unless MOVES. As grid_sample(align_corners=True, padding_mode='border').
// @use trilinear
// @use batch
struct Params {
  image_w: u32, image_h: u32, image_d: u32, channels: u32, w: u32, h: u32, d: u32,
  m00: f32, m01: f32, m02: f32, m03: f32, m10: f32, m11: f32, m12: f32, m13: f32, m20: f32, m21: f32, m22: f32, m23: f32,
}
@group(0) @binding(0) var<storage, read> image: array<f32>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn sample(o: u32, c: Cell) -> f32 {
  let i = o + c.base;
  let j = i + c.step.z;
  let near = mix(mix(image[i], image[i + c.step.x], c.at.x), mix(image[i + c.step.y], image[i + c.step.y + c.step.x], c.at.x), c.at.y);
  let far = mix(mix(image[j], image[j + c.step.x], c.at.x), mix(image[j + c.step.y], image[j + c.step.y + c.step.x], c.at.x), c.at.y);
  return mix(near, far, c.at.z);
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let n = batch_of(id.z, params.d);
  let d = id.z - n * params.d;
  let voxels = params.w * params.h * params.d;
  let p = (d * params.h + id.y) * params.w + id.x;
  var q = vec3f(f32(id.x), f32(id.y), f32(d));
  if (MOVES) { q += vec3f(u[n * 3u * voxels + p], u[(n * 3u + 1u) * voxels + p], u[(n * 3u + 2u) * voxels + p]); }
  let x = vec3f(
    dot(vec3f(params.m00, params.m01, params.m02), q) + params.m03,
    dot(vec3f(params.m10, params.m11, params.m12), q) + params.m13,
    dot(vec3f(params.m20, params.m21, params.m22), q) + params.m23);
  let size = vec3u(params.image_w, params.image_h, params.image_d);
  let image_voxels = size.x * size.y * size.z;
  if (NEAREST) {
    let at = vec3u(clamp(floor(x + 0.5), vec3f(0.0), vec3f(size - 1u)));
    for (var c = n * params.channels; c < (n + 1u) * params.channels; c++) {
      y[c * voxels + p] = image[c * image_voxels + (at.z * size.y + at.y) * size.x + at.x];
    }
    return;
  }
  let cell = locate(x, size);
  for (var c = n * params.channels; c < (n + 1u) * params.channels; c++) {
    y[c * voxels + p] = sample(c * image_voxels, cell);
  }
}
