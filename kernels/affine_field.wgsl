// y[n,·,p] = M·(p + u[n,p]) − p: the displacement of an affine map M (3×4, row-major, voxels to voxels) after p + u(p); u is 0 unless MOVES.
// Layout [N, 3, D, H, W]. One invocation: one voxel.
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> m: array<f32>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let voxels = params.w * params.h * params.d;
  let p = vec3f(f32(id.x), f32(id.y), f32(id.z % params.d));
  let i = id.z / params.d * 3u * voxels + ((id.z % params.d) * params.h + id.y) * params.w + id.x;
  var x = p;
  if (MOVES) { x += vec3f(u[i], u[i + voxels], u[i + 2u * voxels]); }
  for (var c = 0u; c < 3u; c++) {
    y[i + c * voxels] = dot(vec3f(m[4u * c], m[4u * c + 1u], m[4u * c + 2u]), x) + m[4u * c + 3u] - p[c];
  }
}
