// y[n,o,p] = f(b[o] + Σ_{i,k} w[o,i,k]·x[n,i,STRIDE·p + k − PAD]), f an activation where ACTIVATE; x beyond the border is 0, or its last
// voxel where REPLICATE. Layout [N, C, D, H, W]; w as conv3d_pack leaves it, [i, k] × VECTORS of four output channels, in a uniform buffer.
// One invocation: RUN voxels along H × 4·VECTORS channels from `first_out` on, so that a value loaded serves many multiplications.
// A pass takes `channels` inputs from `first_in` on; where there are several, the later ones ACCUMULATE on y.
// @use index
// @use activation
alias real = f32; // storage
struct Params {
  count: u32, w: u32, h: u32, d: u32, x_w: u32, x_h: u32, x_d: u32,
  inputs: u32, outputs: u32, first_in: u32, channels: u32, first_out: u32,
}
@group(0) @binding(0) var<storage, read> x: array<real>;
@group(0) @binding(1) var<uniform> w: array<vec4f, WEIGHTS>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<real>;
@group(0) @binding(4) var<uniform> params: Params;

const ROWS = (RUN - 1u) * STRIDE + K;

// The voxel that position q − PAD of an axis of n reads, and its factor, 0 outside.
struct Place { at: u32, factor: f32 }
fn place(q: u32, n: u32) -> Place {
  let at = clamp(i32(q) - PAD, 0, i32(n) - 1);
  return Place(u32(at), select(0.0, 1.0, REPLICATE || at == i32(q) - PAD));
}

var<private> values: array<f32, ROWS>;
var<private> sum: array<array<vec4f, VECTORS>, RUN>;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(workgroup_id) group: vec3u) {
  let index = flat_index(id, groups);
  if (index >= params.count) { return; }
  let runs = (params.h + RUN - 1u) / RUN;
  let p = vec3u(index % params.w, index / params.w % runs * RUN, index / (params.w * runs));
  var rows: array<Place, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    rows[r] = place(p.y * STRIDE + r, params.x_h);
    rows[r].at *= params.x_w;
  }

  for (var t = 0u; t < params.channels * K * K; t++) { // [i, kd, kw]: one loop, since each costs all sums a copy on a CPU adapter
    let slice = place(p.z * STRIDE + t / K % K, params.x_d);
    let column = place(p.x * STRIDE + t % K, params.x_w);
    let channel = group.z * params.inputs + params.first_in + t / (K * K);
    let base = (channel * params.x_d + slice.at) * params.x_h * params.x_w + column.at;
    let factor = slice.factor * column.factor;
    for (var r = 0u; r < ROWS; r++) { values[r] = f32(x[base + rows[r].at]) * (rows[r].factor * factor); }
    let taps = t / K * K * K + t % K; // [i, kd, 0, kw]
    multiply(taps, 0u);
    if (VECTORS > 1u) { multiply(taps, 1u); } // not a loop: Mesa unrolls small ones only, and sums must not be indexed by a variable
    if (VECTORS > 2u) { multiply(taps, 2u); }
    if (VECTORS > 3u) { multiply(taps, 3u); }
  }

  write(group.z, p, 0u);
  if (VECTORS > 1u) { write(group.z, p, 1u); }
  if (VECTORS > 2u) { write(group.z, p, 2u); }
  if (VECTORS > 3u) { write(group.z, p, 3u); }
}

// Adds to the four channels of vector v what the rows' values give with their K weights, which stay in registers for all rows.
fn multiply(taps: u32, v: u32) {
  var weights: array<vec4f, K>;
  for (var kh = 0u; kh < K; kh++) { weights[kh] = w[(taps + kh * K) * VECTORS + v]; }
  for (var r = 0u; r < RUN; r++) {
    var total = sum[r][v];
    for (var kh = 0u; kh < K; kh++) { total = fma(vec4f(values[r * STRIDE + kh]), weights[kh], total); }
    sum[r][v] = total;
  }
}

fn write(n: u32, p: vec3u, v: u32) {
  var totals: array<vec4f, RUN>; // a copy that may be indexed by a variable
  for (var r = 0u; r < RUN; r++) { totals[r] = sum[r][v]; }
  for (var r = 0u; r < RUN; r++) {
    for (var lane = 0u; lane < 4u; lane++) { store(n, params.first_out + 4u * v + lane, p + vec3u(0u, r, 0u), totals[r][lane]); }
  }
}

fn store(n: u32, o: u32, p: vec3u, sum: f32) {
  if (o >= params.outputs || p.y >= params.h) { return; }
  let at = (((n * params.outputs + o) * params.d + p.z) * params.h + p.y) * params.w + p.x;
  var value = sum;
  if (BIAS) { value += b[o]; }
  if (ACCUMULATE) { value += f32(y[at]); }
  if (ACTIVATE) { value = activate(value); }
  y[at] = real(value);
}
