// y[n,p] = det(I + ∇u[n,p]): local volume change of the map p + u(p); ≤ 0 is a fold. Layout [N, 3, D, H, W] → [N, 1, D, H, W].
// One invocation: one voxel.
// @use jacobian
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let size = vec3u(params.w, params.h, params.d);
  let voxels = size.x * size.y * size.z;
  let rows = jacobian_at(id.z / params.d * 3u * voxels, vec3u(id.xy, id.z % params.d), size);
  y[(id.z * params.h + id.y) * params.w + id.x] = dot(rows[0], cross(rows[1], rows[2]));
}
