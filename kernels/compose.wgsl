// y[n,·,p] = v[n,·,p] + u[n,·] at (p + v[n,p]): the displacement of (id + u) ∘ (id + v), trilinear, border clamped.
// One invocation: one voxel p. Layout [N, 3, D, H, W], (w, h, d) in voxels.
// @use corners
// @use voxel
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

alias texel = f32;
fn texel_at(i: u32) -> texel { return u[i]; }

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w * params.h) { return; }
  let voxel = voxel_of(id);
  let voxels = params.w * params.h * params.d;
  let first = voxel.n * 3u * voxels;
  let p = first + voxel.p;
  let step = vec3f(v[p], v[p + voxels], v[p + 2u * voxels]);
  let cell = locate(voxel.position + step, vec3u(params.w, params.h, params.d));
  y[p] = step.x + interpolated(corners_of(first, cell), cell.fraction);
  y[p + voxels] = step.y + interpolated(corners_of(first + voxels, cell), cell.fraction);
  y[p + 2u * voxels] = step.z + interpolated(corners_of(first + 2u * voxels, cell), cell.fraction);
}
