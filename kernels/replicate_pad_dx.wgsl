// dx[c,q] = Σ g[c,p] over the voxels p of the padded volume that repeat voxel q: the adjoint of replicate padding by PAD voxels.
// Layouts [N·C, D, H, W] and [N·C, D + 2·PAD, H + 2·PAD, W + 2·PAD]. One invocation: one voxel q of one channel.
// @const PAD: u32  voxels of padding
alias real = f32; // storage
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> g: array<real>;
@group(0) @binding(1) var<storage, read_write> dx: array<real>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let size = vec3u(params.w, params.h, params.d);
  let padded = size + 2u * PAD;
  let q = vec3u(id.xy, id.z % params.d);
  let low = select(q + PAD, vec3u(0u), q == vec3u(0u));
  let high = select(q + PAD, padded - 1u, q == size - 1u);
  var sum = 0.0;
  for (var d = low.z; d <= high.z; d++) {
    for (var h = low.y; h <= high.y; h++) {
      for (var w = low.x; w <= high.x; w++) { sum += f32(g[((id.z / params.d * padded.z + d) * padded.y + h) * padded.x + w]); }
    }
  }
  dx[(id.z * params.h + id.y) * params.w + id.x] = real(sum);
}
