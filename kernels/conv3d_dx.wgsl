// dx[n,c,q] = Σ_{o,k} w[o,c,k]·dy[n,o,(q + PAD − k)/2] over the taps k that divide and stay inside: the input gradient of a convolution of
// stride 2. Layout [N, C, D, H, W]; w as conv3d_pack leaves it, [o, k] × VECTORS of four channels c, in a uniform buffer.
// One invocation: RUN voxels q, every other along H, × 4·VECTORS channels from `first_out` on. A workgroup's voxels are all even or all
// odd along each axis (z holds which), so that they share their taps. A pass takes `channels` of dy from `first_in` on; the later ones
// ACCUMULATE on dx.
// @use index
// @const K: u32             taps along an axis
// @const PAD: u32           voxels of padding
// @const RUN: u32           voxels that an invocation computes
// @const VECTORS: u32       channels that it computes, in fours
// @const TAP_ROWS: u32      rows of taps in w
// @const ACCUMULATE: bool   on what dx holds
alias real = f32; // storage
struct Params {
  count: u32, // runs of voxels of one parity in an item of the batch
  w: u32, h: u32, d: u32, // of dx
  y_w: u32, y_h: u32, y_d: u32,
  inputs: u32, outputs: u32, // channels of dy and dx
  first_in: u32, channels: u32, first_out: u32, // of this pass
}
@group(0) @binding(0) var<storage, read> dy: array<real>;
@group(0) @binding(1) var<uniform> w: array<array<vec4f, K * VECTORS>, TAP_ROWS>;
@group(0) @binding(2) var<storage, read_write> dx: array<real>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(workgroup_id) group: vec3u) {
  let index = flat_index(id, groups);
  if (index >= params.count) { return; }
  let size = vec3u(params.w, params.h, params.d);
  let half = (size + 1u) / 2u;
  let runs = (half.y + RUN - 1u) / RUN;
  let odd = (vec3u(group.z) >> vec3u(0u, 1u, 2u)) & vec3u(1u);
  let q = 2u * vec3u(index % half.x, index / half.x % runs * RUN, index / (half.x * runs)) + odd;
  if (any(q >= size)) { return; }
  let n = group.z / 8u;
  let first = (odd + PAD) % 2u; // the first of the taps first, first + 2, …

  var sum: array<array<vec4f, VECTORS>, RUN>;
  for (var kd = first.z; kd < K; kd += 2u) {
    for (var kh = first.y; kh < K; kh += 2u) {
      for (var kw = first.x; kw < K; kw += 2u) {
        // Unsigned: what lies before the first voxel is larger than any.
        let p = vec3u((vec3i(q + PAD) - vec3i(vec3u(kw, kh, kd))) >> vec3u(1u));
        let inside = p.x < params.y_w && p.z < params.y_d;
        for (var i = 0u; i < params.channels; i++) {
          let slice = (n * params.inputs + params.first_in + i) * params.y_d + p.z;
          var values: array<f32, RUN>;
          for (var r = 0u; r < RUN; r++) { // @unroll
            values[r] = 0.0; // said again: lavapipe 25.0 leaves the value of the round before
            if (inside && p.y + r < params.y_h) { values[r] = f32(dy[(slice * params.y_h + p.y + r) * params.y_w + p.x]); }
          }
          for (var v = 0u; v < VECTORS; v++) { // @unroll
            let weight = w[(i * K + kd) * K + kh][kw * VECTORS + v];
            for (var r = 0u; r < RUN; r++) { // @unroll
              sum[r][v] = fma(vec4f(values[r]), weight, sum[r][v]);
            }
          }
        }
      }
    }
  }

  var totals = sum; // a copy that may be indexed by a variable
  for (var r = 0u; r < RUN; r++) {
    for (var v = 0u; v < VECTORS; v++) {
      for (var lane = 0u; lane < 4u; lane++) { store(n, params.first_out + 4u * v + lane, q + vec3u(0u, 2u * r, 0u), totals[r][v][lane]); }
    }
  }
}

fn store(n: u32, c: u32, q: vec3u, sum: f32) {
  if (c >= params.outputs || q.y >= params.h) { return; }
  let at = (((n * params.outputs + c) * params.d + q.z) * params.h + q.y) * params.w + q.x;
  var value = sum;
  if (ACCUMULATE) { value += f32(dx[at]); }
  dx[at] = real(value);
}
