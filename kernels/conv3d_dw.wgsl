// dw[o,i,k] = Σ_{n,p} dy[n,o,p]·x[n,i,STRIDE·p + k − PAD] and db[o] = Σ_{n,p} dy[n,o,p]; x beyond the border as in conv3d. Layout
// [N, C, D, H, W]. Split over voxels: partials[chunk] holds dw and then db, summed over the columns (lines along H) of one chunk;
// conv3d_dw_sum.wgsl adds the chunks. Workgroup x: 4 outputs o × TILE inputs i × one kd × all kh and kw; workgroup y: a chunk.
// One invocation walks down ACROSS neighbouring columns at once (`columns` counts such groups) and keeps the K rows of x that the taps need in
// registers: loads and loop steps cost more than products, and so each step brings every sum ACROSS products. The sums of a workgroup are
// then added in a fixed order. dy, and x but for the ends of a row (of ROW values, those before FIRST and from LAST on), are read LANES values at a
// time: 4 where W of both is a multiple of 4. KEPT of the K rows move up from step to step.
// @use padding
// @use reals$LANES
// @const K: u32       taps along an axis
// @const STRIDE: u32  voxels of x from an output to the next
// @const TILE: u32    inputs of a workgroup
// @const ACROSS: u32  columns that an invocation walks at once
// @const ROW: u32     values of a row of x that it reads
// @const FIRST: u32   of these, where items of LANES begin
// @const LAST: u32    and where they end
// @const KEPT: u32    rows of x that stay from step to step
alias real = f32; // storage
struct Params {
  columns: u32, // groups of ACROSS columns
  w: u32, h: u32, d: u32, // of dy
  x_w: u32, x_h: u32, x_d: u32,
  inputs: u32, outputs: u32, // channels of x and dy
  first: u32, row: u32, // where the channels of x begin among those of dw, and how many these are
}
@group(0) @binding(0) var<storage, read> x: array<real>;
@group(0) @binding(1) var<storage, read> x_lanes: array<reals>; // x again
@group(0) @binding(2) var<storage, read> dy: array<reals>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const VALUES = TILE * K * K; // weights of one output in a workgroup
const_assert VALUES < WG;
var<workgroup> shared_sums: array<f32, WG * (VALUES + 1u)>; // of one output, and of db

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let kd = group.x % K;
  let tiles = (params.inputs + TILE - 1u) / TILE;
  let first_i = group.x / K % tiles * TILE;
  let first_o = group.x / (K * tiles) * 4u;
  let x_plane = params.x_w * params.x_h;
  let plane = params.w * params.h;
  let steps = (params.w + ACROSS - 1u) / ACROSS;

  var sum: array<array<array<vec4f, K>, K>, TILE>; // [i][kh][kw]
  var bias = vec4f();
  for (var c = group.y * WG + local; c < params.columns; c += groups.y * WG) {
    let w = c % steps * ACROSS;
    let d = c / steps % params.d;
    let n = c / (steps * params.d);
    // Where the columns of x and dy begin: computed once, a CPU adapter computes anew what it finds in the loop.
    let slice = place(d * STRIDE + kd, params.x_d);
    var x_columns: array<Place, ROW>;
    for (var s = 0u; s < ROW; s++) { // @unroll
      x_columns[s] = place(w * STRIDE + s, params.x_w);
      x_columns[s].factor *= slice.factor;
    }
    let origin = (n * params.inputs * params.x_d + slice.index) * x_plane;
    let channel = params.x_d * x_plane;
    var dy_columns: array<Place, ACROSS>;
    for (var s = 0u; s < ACROSS; s++) { // @unroll
      dy_columns[s] = Place(min(w + s, params.w - 1u), select(0.0, 1.0, w + s < params.w));
    }
    var dy_channels: array<u32, 4>;
    for (var o = 0u; o < 4u; o++) { // @unroll
      dy_channels[o] = ((n * params.outputs + min(first_o + o, params.outputs - 1u)) * params.d + d) * plane;
    }

    var rows: array<array<array<f32, ROW>, K>, TILE>; // [i][kh]
    for (var h = -i32((K - 1u) / STRIDE); h < i32(params.h); h++) { // steps before h = 0 fill the rows that move up later
      for (var i = 0u; i < TILE; i++) { // @unroll
        let input = origin + min(first_i + i, params.inputs - 1u) * channel;
        for (var kh = 0u; kh < KEPT; kh++) { // @unroll
          rows[i][kh] = rows[i][kh + STRIDE];
        }
        for (var kh = KEPT; kh < K; kh++) { // @unroll
          let row = place(u32(h * i32(STRIDE) + i32(kh)), params.x_h);
          let line = input + row.index * params.x_w;
          for (var s = 0u; s < FIRST; s++) { // @unroll
            rows[i][kh][s] = f32(x[line + x_columns[s].index]) * (row.factor * x_columns[s].factor);
          }
          for (var s = FIRST; s < LAST; s += LANES) { // @unroll
            let several = x_lanes[(line + x_columns[s].index) / LANES];
            for (var l = 0u; l < LANES; l++) { // @unroll
              rows[i][kh][s + l] = lane(several, l) * (row.factor * x_columns[s + l].factor);
            }
          }
          for (var s = LAST; s < ROW; s++) { // @unroll
            rows[i][kh][s] = f32(x[line + x_columns[s].index]) * (row.factor * x_columns[s].factor);
          }
        }
      }
      if (h < 0) { continue; }
      var g: array<vec4f, ACROSS>;
      for (var s = 0u; s < ACROSS; s += LANES) { // @unroll
        let at = u32(h) * params.w + dy_columns[s].index;
        for (var o = 0u; o < 4u; o++) { // @unroll
          let values = dy[(dy_channels[o] + at) / LANES];
          for (var i = 0u; i < LANES; i++) { // @unroll
            g[s + i][o] = lane(values, i);
          }
        }
      }
      for (var s = 0u; s < ACROSS; s++) { // @unroll
        g[s] *= dy_columns[s].factor;
        bias += g[s];
      }
      for (var i = 0u; i < TILE; i++) { // @unroll
        for (var kh = 0u; kh < K; kh++) { // @unroll
          for (var s = 0u; s < ACROSS; s++) { // @unroll
            for (var kw = 0u; kw < K; kw++) { // @unroll
              sum[i][kh][kw] = fma(vec4f(rows[i][kh][s * STRIDE + kw]), g[s], sum[i][kh][kw]);
            }
          }
        }
      }
    }
  }

  let weights = params.row * K * K * K;
  let chunk = group.y * params.outputs * (weights + 1u);
  let own = local * (VALUES + 1u);
  for (var o = 0u; o < 4u; o++) { // @unroll
    for (var i = 0u; i < TILE; i++) { // @unroll
      for (var kh = 0u; kh < K; kh++) { // @unroll
        for (var kw = 0u; kw < K; kw++) { // @unroll
          shared_sums[own + (i * K + kh) * K + kw] = sum[i][kh][kw][o];
        }
      }
    }
    shared_sums[own + VALUES] = bias[o];
    workgroupBarrier();
    if (local <= VALUES && first_o + o < params.outputs) {
      var total = 0.0;
      for (var j = 0u; j < WG; j++) { total += shared_sums[j * (VALUES + 1u) + local]; }
      let i = first_i + local / (K * K);
      if (local == VALUES) {
        if (kd == 0u && first_i == 0u) { partials[chunk + params.outputs * weights + first_o + o] = total; }
      } else if (i < params.inputs) {
        partials[chunk + (((first_o + o) * params.row + params.first + i) * K + kd) * K * K + local % (K * K)] = total;
      }
    }
    workgroupBarrier();
  }
}
