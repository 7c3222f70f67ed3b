// y[n,o,p] = f(b[o] + Σ_{i,k} w[o,i,k]·x[n,i,STRIDE·p + k − PAD]), f an activation where ACTIVATE; x beyond the border is 0, or its last
// voxel where REPLICATE. Layout [N, C, D, H, W]; w as conv3d_pack leaves it, [i, k] × VECTORS of four output channels, in a uniform buffer.
// One invocation: RUN voxels along H × 4·VECTORS channels from `first_out` on, so that a value loaded serves many multiplications.
// A pass takes `channels` inputs from `first_in` on; where there are several, the later ones ACCUMULATE on y.
// @use index
// @use activation
alias real = f32; // storage
struct Params {
  count: u32, w: u32, h: u32, d: u32, x_w: u32, x_h: u32, x_d: u32, k: u32,
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

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(workgroup_id) group: vec3u) {
  let index = flat_index(id, groups);
  if (index >= params.count) { return; }
  let runs = (params.h + RUN - 1u) / RUN;
  let p = vec3u(index % params.w, index / params.w % runs * RUN, index / (params.w * runs));
  var rows: array<Place, ROWS>;
  for (var r = 0u; r < ROWS; r++) { rows[r] = place(p.y * STRIDE + r, params.x_h); }

  var sum: array<array<vec4f, VECTORS>, RUN>;
  for (var i = 0u; i < params.channels; i++) {
    for (var kd = 0u; kd < params.k; kd++) { // k = K; unrolled, it would take a CPU adapter seconds to compile
      let slice = place(p.z * STRIDE + kd, params.x_d);
      let base = ((group.z * params.inputs + params.first_in + i) * params.x_d + slice.at) * params.x_h;
      for (var kw = 0u; kw < K; kw++) {
        let column = place(p.x * STRIDE + kw, params.x_w);
        let factor = slice.factor * column.factor;
        var values: array<f32, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
          values[r] = f32(x[(base + rows[r].at) * params.x_w + column.at]) * (rows[r].factor * factor);
        }
        for (var v = 0u; v < VECTORS; v++) { // the K weights stay in registers for all rows, a sum for all K weights
          var weights: array<vec4f, K>;
          for (var kh = 0u; kh < K; kh++) { weights[kh] = w[(((i * K + kd) * K + kh) * K + kw) * VECTORS + v]; }
          for (var r = 0u; r < RUN; r++) {
            for (var kh = 0u; kh < K; kh++) { sum[r][v] = fma(vec4f(values[r * STRIDE + kh]), weights[kh], sum[r][v]); }
          }
        }
      }
    }
  }

  for (var r = 0u; r < RUN; r++) {
    for (var v = 0u; v < VECTORS; v++) {
      for (var lane = 0u; lane < 4u; lane++) { store(group.z, params.first_out + 4u * v + lane, p + vec3u(0u, r, 0u), sum[r][v][lane]); }
    }
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
