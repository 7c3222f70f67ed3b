// y[i] = f(x[i]), f chosen by the constant OP; `factor` and `offset` belong to scale, factor·x + offset, and to window, the same
// cut to 0…1. One invocation: LANES values in a row; `count` such items.
// @use index
// @use reals$LANES
// @const OP: u32  which f
alias real = f32; // storage
struct Params { count: u32, factor: f32, offset: f32 }
@group(0) @binding(0) var<storage, read> x: array<reals>;
@group(0) @binding(1) var<storage, read_write> y: array<reals>;
@group(0) @binding(2) var<uniform> params: Params;

fn f(v: f32) -> f32 {
  switch OP {
    case 0u: { return params.factor * v + params.offset; }
    case 1u: { return v * v; }
    case 2u: { return sqrt(v); }
    case 3u: { return exp(v); }
    case 4u: { // NaN below 0 and −∞ at 0, by their bits: a driver's own log may be finite there
      return select(log(v), bitcast<f32>(select(0x7fc00000u, 0xff800000u, v == 0.0)), !(v > 0.0));
    }
    case 5u: { return abs(v); }
    case 6u: { return 1.0 / v; }
    case 7u: { return sign(v); }
    default: { return clamp(params.factor * v + params.offset, 0.0, 1.0); }
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  let values = x[i];
  var results: array<f32, LANES>;
  for (var k = 0u; k < LANES; k++) { // @unroll
    results[k] = f(lane(values, k));
  }
  y[i] = reals_of(results);
}
