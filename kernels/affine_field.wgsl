// y[·,p] = M·p − p: the displacement of an affine map M (3×4, row-major, voxels to voxels). Layout [1, 3, D, H, W].
// One invocation: one voxel.
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> m: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let voxels = params.w * params.h * params.d;
  let p = vec3f(id);
  let i = (id.z * params.h + id.y) * params.w + id.x;
  for (var c = 0u; c < 3u; c++) {
    y[i + c * voxels] = dot(vec3f(m[4u * c], m[4u * c + 1u], m[4u * c + 2u]), p) + m[4u * c + 3u] - p[c];
  }
}
