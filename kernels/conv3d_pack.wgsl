// packed[i, k, c/4][c%4] = w[c, i, k]: weights [Co, Ci, K³] for the convolution kernels, four output channels c to a vector, 0 beyond the
// last. TRANSPOSE swaps input and output, w[i, c, k]; FLIP mirrors the taps k: gradients are convolutions too. One invocation: one vector.
// @use index
// @const TRANSPOSE: bool  inputs and outputs change places
// @const FLIP: bool       taps are mirrored
struct Params {
  count: u32, // vectors in all
  taps: u32, // K³
  vectors: u32, // of an input's tap
  row: u32, // input channels of w, Ci
  first_in: u32, first_out: u32, // of the packed ones
  end_out: u32, // where the outputs end
}
@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read_write> packed: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let at = flat_index(id, groups);
  if (at >= params.count) { return; }
  let i = params.first_in + at / (params.vectors * params.taps);
  var k = at / params.vectors % params.taps;
  if (FLIP) { k = params.taps - 1u - k; }
  var four = vec4f();
  for (var lane = 0u; lane < 4u; lane++) {
    let c = params.first_out + at % params.vectors * 4u + lane;
    let row = select(c * params.row + i, i * params.row + c, TRANSPOSE);
    if (c < params.end_out) { four[lane] = w[row * params.taps + k]; }
  }
  packed[at] = four;
}
