// What conv3d computes, for GPUs: y[n,o,p] = f(b[o] + Σ_{i,k} w[o,i,k]·x[n,i,STRIDE·p + k − PAD]), f an activation where ACTIVATE; x beyond
// the border is 0, or its last voxel where REPLICATE. Layout [N, C, D, H, W]; w as conv3d_pack leaves it, [i, k] × VECTORS of four output
// channels. One invocation: RUN voxels along W × 4·VECTORS channels from `first_out` on, whose sums stay in registers, because nothing that
// is indexed here is indexed by a variable of a loop that a compiler might leave a loop. Where SHARED, the weights of STAGED input channels at
// a time lie in workgroup memory.
// A pass takes `channels` inputs from `first_in` on; where there are several, the later ones ACCUMULATE on y. x, but for the ends of what
// an invocation reads of a line, and y are accessed LANES values at a time: 1, or 4 where lines, of x and of y, begin and go on in fours.
// @use index
// @use activation
// @use reals$LANES
alias real = f32; // storage
struct Params {
  count: u32, w: u32, h: u32, d: u32, x_w: u32, x_h: u32, x_d: u32,
  inputs: u32, outputs: u32, first_in: u32, channels: u32, first_out: u32,
}
@group(0) @binding(0) var<storage, read> x: array<real>;
@group(0) @binding(1) var<storage, read> x_lanes: array<reals>; // x again
@group(0) @binding(2) var<uniform> w: array<vec4f, WEIGHTS>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<reals>;
@group(0) @binding(5) var<uniform> params: Params;

const SPAN = (RUN - 1u) * STRIDE + K; // values of a line that an invocation reads
const FIRST = select(0u, u32(PAD), LANES > 1u); // those up to LAST as x_lanes
const LAST = FIRST + (SPAN - FIRST) / LANES * LANES;
const PER_INPUT = K * K * K * VECTORS;
var<workgroup> staged: array<vec4f, STAGED * PER_INPUT>;

// The voxel that position q − PAD of an axis of n reads, and its factor, 0 outside.
struct Place { at: u32, factor: f32 }
fn place(q: u32, n: u32) -> Place {
  let at = clamp(i32(q) - PAD, 0, i32(n) - 1);
  return Place(u32(at), select(0.0, 1.0, REPLICATE || at == i32(q) - PAD));
}

var<private> values: array<f32, SPAN>;
var<private> sum: array<array<vec4f, VECTORS>, RUN>;

@compute @workgroup_size(WG)
fn main(
  @builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let index = min(flat_index(id, groups), params.count - 1u); // those beyond the last help to stage
  let runs = (params.w + RUN - 1u) / RUN;
  let p = vec3u(index % runs * RUN, index / runs % params.h, index / (runs * params.h));
  var columns: array<Place, SPAN>;
  for (var s = 0u; s < SPAN; s++) { columns[s] = place(p.x * STRIDE + s, params.x_w); }

  for (var first = 0u; first < params.channels; first += STAGED) {
    let count = min(STAGED, params.channels - first);
    if (SHARED) {
      workgroupBarrier();
      for (var j = local; j < count * PER_INPUT; j += WG) { staged[j] = w[first * PER_INPUT + j]; }
      workgroupBarrier();
    }
    for (var i = 0u; i < count; i++) {
      let channel = (group.z * params.inputs + params.first_in + first + i) * params.x_d;
      for (var kd = 0u; kd < K; kd++) {
        let slice = place(p.z * STRIDE + kd, params.x_d);
        let plane = (channel + slice.at) * params.x_h;
        for (var kh = 0u; kh < K; kh++) {
          let row = place(p.y * STRIDE + kh, params.x_h);
          let line = (plane + row.at) * params.x_w;
          let factor = slice.factor * row.factor;
          for (var s = 0u; s < FIRST; s++) { values[s] = f32(x[line + columns[s].at]) * (columns[s].factor * factor); }
          for (var s = FIRST; s < LAST; s += LANES) {
            let several = x_lanes[(line + columns[s].at) / LANES];
            for (var l = 0u; l < LANES; l++) { values[s + l] = lane(several, l) * (columns[s + l].factor * factor); }
          }
          for (var s = LAST; s < SPAN; s++) { values[s] = f32(x[line + columns[s].at]) * (columns[s].factor * factor); }
          let taps = (select(first + i, i, SHARED) * K * K + kd * K + kh) * K * VECTORS;
          multiply(taps, 0u);
          if (K > 1u) { multiply(taps, 1u); multiply(taps, 2u); }
          if (K > 3u) { multiply(taps, 3u); multiply(taps, 4u); }
        }
      }
    }
  }
  if (flat_index(id, groups) >= params.count) { return; }

  write(group.z, p, 0u);
  if (VECTORS > 1u) { write(group.z, p, 1u); }
  if (VECTORS > 2u) { write(group.z, p, 2u); }
  if (VECTORS > 3u) { write(group.z, p, 3u); }
}

// Adds to all sums what the values give with the weights of tap kw of a line.
fn multiply(taps: u32, kw: u32) {
  multiply_four(taps, kw, 0u);
  if (VECTORS > 1u) { multiply_four(taps, kw, 1u); }
  if (VECTORS > 2u) { multiply_four(taps, kw, 2u); }
  if (VECTORS > 3u) { multiply_four(taps, kw, 3u); }
}

fn multiply_four(taps: u32, kw: u32, v: u32) {
  let at = taps + kw * VECTORS + v;
  var weight: vec4f;
  if (SHARED) { weight = staged[at]; } else { weight = w[at]; }
  four_voxels(0u, kw, v, weight);
  if (RUN > 4u) { four_voxels(4u, kw, v, weight); }
  if (RUN > 8u) { four_voxels(8u, kw, v, weight); }
  if (RUN > 12u) { four_voxels(12u, kw, v, weight); }
}

fn four_voxels(r: u32, kw: u32, v: u32, weight: vec4f) {
  sum[r][v] = fma(vec4f(values[r * STRIDE + kw]), weight, sum[r][v]);
  sum[r + 1u][v] = fma(vec4f(values[(r + 1u) * STRIDE + kw]), weight, sum[r + 1u][v]);
  sum[r + 2u][v] = fma(vec4f(values[(r + 2u) * STRIDE + kw]), weight, sum[r + 2u][v]);
  sum[r + 3u][v] = fma(vec4f(values[(r + 3u) * STRIDE + kw]), weight, sum[r + 3u][v]);
}

fn write(n: u32, p: vec3u, v: u32) {
  write_channel(n, p, v, 0u);
  write_channel(n, p, v, 1u);
  write_channel(n, p, v, 2u);
  write_channel(n, p, v, 3u);
}

fn write_channel(n: u32, p: vec3u, v: u32, c: u32) {
  let o = params.first_out + 4u * v + c;
  if (o >= params.outputs) { return; }
  let line = (((n * params.outputs + o) * params.d + p.z) * params.h + p.y) * params.w + p.x;
  for (var r = 0u; r < RUN; r += LANES) {
    if (p.x + r < params.w) {
      let at = (line + r) / LANES;
      var results: array<f32, LANES>;
      for (var l = 0u; l < LANES; l++) {
        results[l] = sum[r + l][v][c];
        if (BIAS) { results[l] += b[o]; }
        if (ACCUMULATE) { results[l] += lane(y[at], l); }
        if (ACTIVATE) { results[l] = activate(results[l]); }
      }
      y[at] = reals_of(results);
    }
  }
}
