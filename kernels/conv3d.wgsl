// 3-D convolution: y[n,o,p] = f(b[o] + Σ_{i,k} w[o,i,k]·x[n,i,STRIDE·p + k − PAD]), f an activation where ACTIVATE, else the identity.
// Beyond the border x is 0, or its last voxel where REPLICATE. Layout [N, C, D, H, W]. w lies as conv3d_pack.wgsl leaves it: for each input i,
// kd and kh a row of taps along kw, K·VECTORS vec4f, each the weights of four output channels. lib/weights_uniform and
// lib/weights_staged.wgsl read it.
// One invocation computes RUN voxels along W for 4·VECTORS output channels from `first_out` on, so that a value of x, loaded once, serves many
// products: row of taps by row of taps, it reads the SPAN values of x that these meet, and adds all products of the two. One pass covers `channels`
// inputs from `first_in` on; every pass but the first ACCUMULATEs on y.
// x and y are read and written LANES values at a time: 4 where their widths allow it, else 1 (conv3d-passes.ts). Of the SPAN values, those before
// FIRST and from LAST on are read one by one.
// @use index
// @use activation
// @use padding
// @use reals$LANES
// @use weights_$WEIGHTS
// @const K: u32             taps along an axis
// @const STRIDE: u32        voxels of x from an output to the next
// @const RUN: u32           voxels along W that an invocation computes
// @const VECTORS: u32       output channels that it computes, in fours
// @const TAP_ROWS: u32      rows of taps in w
// @const SPAN: u32          values of a row of x that it reads
// @const FIRST: u32         of these, where items of LANES begin
// @const LAST: u32          and where they end
// @const AHEAD: bool        a row of x is read before the products of the one before
// @const ACCUMULATE: bool   on what y holds
// @const BIAS: bool         b is added
// @const ACTIVATE: bool     f is an activation
alias real = f32; // storage
struct Params {
  count: u32, // runs of voxels in an item of the batch
  w: u32, h: u32, d: u32, // of y
  x_w: u32, x_h: u32, x_d: u32,
  inputs: u32, outputs: u32, // channels of x and y
  first_in: u32, channels: u32, first_out: u32, // of this pass
}
alias TapRow = array<vec4f, K * VECTORS>;
@group(0) @binding(0) var<storage, read> x: array<real>;
@group(0) @binding(1) var<storage, read> x_lanes: array<reals>; // x again
@group(0) @binding(2) var<uniform> w: array<TapRow, TAP_ROWS>;
@group(0) @binding(3) var<storage, read> w_all: array<TapRow>; // w again
@group(0) @binding(4) var<storage, read> b: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<reals>;
@group(0) @binding(6) var<uniform> params: Params;

var<private> places: array<Place, SPAN>; // along W, of the values of a row
// A row of x as it is stored, and the factor of all of it: 0 beyond the border. What read_row leaves.
var<private> row_values: array<f32, SPAN>;
var<private> row_factor: f32;

// Reads the row of x that row t of taps, [i, kd, kh], meets at voxel p of item n.
fn read_row(t: u32, p: vec3u, n: u32) {
  let at_d = place(p.z * STRIDE + t / K % K, params.x_d);
  let at_h = place(p.y * STRIDE + t % K, params.x_h);
  let channel = n * params.inputs + params.first_in + t / (K * K);
  let start = ((channel * params.x_d + at_d.index) * params.x_h + at_h.index) * params.x_w;
  row_factor = at_d.factor * at_h.factor;
  for (var s = 0u; s < FIRST; s++) { // @unroll
    row_values[s] = f32(x[start + places[s].index]);
  }
  for (var s = FIRST; s < LAST; s += LANES) { // @unroll
    let several = x_lanes[(start + places[s].index) / LANES];
    for (var i = 0u; i < LANES; i++) { // @unroll
      row_values[s + i] = lane(several, i);
    }
  }
  for (var s = LAST; s < SPAN; s++) { // @unroll
    row_values[s] = f32(x[start + places[s].index]);
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(workgroup_id) group: vec3u,
        @builtin(local_invocation_index) local: u32) {
  if ((group.x + group.y * groups.x) * WG >= params.count) { return; } // only as a whole workgroup: stage() has barriers
  let index = flat_index(id, groups);
  let runs = (params.w + RUN - 1u) / RUN;
  let p = vec3u(index % runs * RUN, index / runs % params.h, index / (runs * params.h));
  for (var s = 0u; s < SPAN; s++) { // @unroll
    places[s] = place(p.x * STRIDE + s, params.x_w);
  }

  var sum: array<array<vec4f, VECTORS>, RUN>;
  let rows = params.channels * K * K;
  if (AHEAD) { read_row(0u, p, group.z); }
  for (var t = 0u; t < rows; t++) { // one loop: on a CPU adapter every nested one copies all sums once more
    let taps = stage(t, local);
    if (!AHEAD) { read_row(t, p, group.z); }
    var values: array<f32, SPAN>;
    for (var s = 0u; s < SPAN; s++) { // @unroll
      values[s] = row_values[s] * (places[s].factor * row_factor);
    }
    if (AHEAD) { read_row(min(t + 1u, rows - 1u), p, group.z); } // on its way while this one is multiplied
    for (var v = 0u; v < VECTORS; v++) { // @unroll
      var weights: array<vec4f, K>; // stay in registers for all voxels
      for (var kw = 0u; kw < K; kw++) { // @unroll
        weights[kw] = weight(taps, kw * VECTORS + v);
      }
      for (var r = 0u; r < RUN; r++) { // @unroll
        for (var kw = 0u; kw < K; kw++) { // @unroll
          sum[r][v] = fma(vec4f(values[r * STRIDE + kw]), weights[kw], sum[r][v]);
        }
      }
    }
  }

  if (index >= params.count) { return; }
  var totals: array<vec4f, RUN>; // a copy that a variable may index: the loops below, unrolled, would take longer to compile than the rest
  for (var v = 0u; v < VECTORS; v++) { // @unroll
    for (var r = 0u; r < RUN; r++) { // @unroll
      totals[r] = sum[r][v];
    }
    for (var r = 0u; r < RUN && p.x + r < params.w; r += LANES) {
      for (var c = 0u; c < 4u; c++) {
        let o = params.first_out + 4u * v + c;
        if (o >= params.outputs) { break; }
        let at = ((((group.z * params.outputs + o) * params.d + p.z) * params.h + p.y) * params.w + p.x + r) / LANES;
        var results: array<f32, LANES>;
        for (var i = 0u; i < LANES; i++) {
          results[i] = totals[r + i][c];
          if (BIAS) { results[i] += b[o]; }
          if (ACCUMULATE) { results[i] += lane(y[at], i); }
          if (ACTIVATE) { results[i] = activate(results[i]); }
        }
        y[at] = reals_of(results);
      }
    }
  }
}
