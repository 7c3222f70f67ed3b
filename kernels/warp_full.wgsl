// The result at full resolution from a level's displacement v, in one pass and without storing it on the way. The level covers a box of the full
// grid that begins at voxel o; beyond it goes on as at its border. With u(p) = s·v at ((p − o + ½)/s − ½), trilinear, in voxels of the full grid,
// and q = p + u(p):
//   warped[p] = image at N·q (trilinear; `outside` where that is beyond its voxels), displacement[p] = M·q − p, a component to a buffer.
// M (3×4) is an affine map in voxels of the full grid, N one to voxels of the image. Layout v [1, 3, d, h, w], the rest
// [1, 1, D, H, W]. One invocation: one voxel of the full grid.
// @use trilinear
// @use batch
struct Params {
  matrices: array<vec4f, 6>, // M and N, by rows
  level_w: u32, level_h: u32, level_d: u32, image_w: u32, image_h: u32, image_d: u32, w: u32, h: u32, d: u32,
  box_w: u32, box_h: u32, box_d: u32, first_w: u32, first_h: u32, first_d: u32, // voxels of the box, and o
  outside: f32,
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
  let s = vec3f(f32(params.box_w), f32(params.box_h), f32(params.box_d)) / vec3f(level);
  let first = vec3f(f32(params.first_w), f32(params.first_h), f32(params.first_d));
  let cell = locate((p - first + 0.5) / s - 0.5, level);
  let voxels = level.x * level.y * level.z;
  let u = s * vec3f(sample_v(0u, cell), sample_v(voxels, cell), sample_v(2u * voxels, cell));
  let i = id.z * params.h * params.w + id.x;
  // M·q − p as (M − I)·p + M₃ₓ₃·u + t: nothing is lost to the size of p when M is close to the identity.
  let m = params.matrices;
  displacement_w[i] = dot(m[0].xyz - vec3f(1.0, 0.0, 0.0), p) + dot(m[0].xyz, u) + m[0].w;
  displacement_h[i] = dot(m[1].xyz - vec3f(0.0, 1.0, 0.0), p) + dot(m[1].xyz, u) + m[1].w;
  displacement_d[i] = dot(m[2].xyz - vec3f(0.0, 0.0, 1.0), p) + dot(m[2].xyz, u) + m[2].w;
  let q = vec4f(p + u, 1.0);
  let x = vec3f(dot(m[3], q), dot(m[4], q), dot(m[5], q));
  let image_size = vec3u(params.image_w, params.image_h, params.image_d);
  if (any(x < vec3f(-0.5)) || any(x > vec3f(image_size) - 0.5)) { warped[i] = params.outside; return; }
  let c = locate(x, image_size);
  let j = c.base + c.step.z;
  warped[i] = blend(vec4f(image[c.base], image[c.base + c.step.x], image[c.base + c.step.y], image[c.base + c.step.y + c.step.x]),
    vec4f(image[j], image[j + c.step.x], image[j + c.step.y], image[j + c.step.y + c.step.x]), c.fraction);
}
