// y[n,·,p] = v[n,·,p] + u[n,·] at (p + v[n,p]): the displacement of (id + u) ∘ (id + v), trilinear, border clamped.
// One invocation: one voxel p. Layout [N, 3, D, H, W], (w, h, d) in voxels.
// @use trilinear
// @use batch
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn sample(o: u32, c: Cell) -> f32 {
  let i = o + c.base;
  let j = i + c.step.z;
  let near = mix(mix(u[i], u[i + c.step.x], c.at.x), mix(u[i + c.step.y], u[i + c.step.y + c.step.x], c.at.x), c.at.y);
  let far = mix(mix(u[j], u[j + c.step.x], c.at.x), mix(u[j + c.step.y], u[j + c.step.y + c.step.x], c.at.x), c.at.y);
  return mix(near, far, c.at.z);
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w * params.h) { return; }
  let n = batch_of(id.z, params.d);
  let d = id.z - n * params.d;
  let h = quotient(id.x, params.w);
  let w = id.x - h * params.w;
  let voxels = params.w * params.h * params.d;
  let p = n * 3u * voxels + d * params.h * params.w + id.x;
  let step = vec3f(v[p], v[p + voxels], v[p + 2u * voxels]);
  let cell = locate(vec3f(f32(w), f32(h), f32(d)) + step, vec3u(params.w, params.h, params.d));
  let o = n * 3u * voxels;
  y[p] = step.x + sample(o, cell);
  y[p + voxels] = step.y + sample(o + voxels, cell);
  y[p + 2u * voxels] = step.z + sample(o + 2u * voxels, cell);
}
