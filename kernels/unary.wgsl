// y[i] = f(x[i]), f chosen by the constant OP; `factor` and `offset` belong to scale, factor·x + offset, and to window, the same
// cut to 0…1. One invocation: LANES values in a row; `count` such items.
// @use index
// @use reals$LANES
// @const OP: u32  which f, as named below
alias real = f32; // storage
struct Params { count: u32, factor: f32, offset: f32 }
@group(0) @binding(0) var<storage, read> x: array<reals>;
@group(0) @binding(1) var<storage, read_write> y: array<reals>;
@group(0) @binding(2) var<uniform> params: Params;

const SCALE = 0u;
const SQUARE = 1u;
const SQRT = 2u;
const EXP = 3u;
const LOG = 4u;
const ABS = 5u;
const RECIPROCAL = 6u;
const SIGN = 7u;
const WINDOW = 8u;

fn f(v: f32) -> f32 {
  switch OP {
    case SCALE: { return params.factor * v + params.offset; }
    case SQUARE: { return v * v; }
    case SQRT: { return sqrt(v); }
    case EXP: { return exp(v); }
    case LOG: { // NaN below 0 and −∞ at 0, by their bits: a driver's own log may be finite there
      return select(log(v), bitcast<f32>(select(0x7fc00000u, 0xff800000u, v == 0.0)), !(v > 0.0));
    }
    case ABS: { return abs(v); }
    case RECIPROCAL: { return 1.0 / v; }
    case SIGN: { return sign(v); }
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
