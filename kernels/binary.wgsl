// y[n,c,s] = f(a, b), f chosen by the constant OP. Each operand is FULL [N, C, S], CHANNEL [N, 1, S] (the same for all channels)
// or SCALAR [1]. `alpha` and `beta` belong to axpby: alpha·a + beta·b. IN_PLACE: a (1) or b (2) is
// FULL and lies in y. One invocation: LANES values in a row, one where an operand is SCALAR; `spatial` such items; z runs over N·C.
// @use index
// @use reals$LANES
// @const OP: u32        which f: AXPBY, MUL or DIV
// @const KIND_A: u32    how a lies over y: FULL, CHANNEL or SCALAR
// @const KIND_B: u32    how b does
// @const IN_PLACE: u32  the operand that lies in y, 1 or 2
alias real = f32; // storage
struct Params { spatial: u32, channels: u32, alpha: f32, beta: f32 }
@group(0) @binding(0) var<storage, read> a: array<reals>;
@group(0) @binding(1) var<storage, read> b: array<reals>;
@group(0) @binding(2) var<storage, read_write> y: array<reals>;
@group(0) @binding(3) var<uniform> params: Params;

const FULL = 0u;
const CHANNEL = 1u;
const SCALAR = 2u;

fn place(kind: u32, s: u32, z: u32) -> u32 {
  if (kind == FULL) { return z * params.spatial + s; }
  if (kind == CHANNEL) { return z / params.channels * params.spatial + s; }
  return 0u;
}

const AXPBY = 0u;
const MUL = 1u;
const DIV = 2u;

fn f(p: f32, q: f32) -> f32 {
  switch OP {
    case AXPBY: { return params.alpha * p + params.beta * q; }
    case MUL: { return p * q; }
    default: { return p / q; }
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let i = id.z * params.spatial + s;
  var p: reals;
  var q: reals;
  if (IN_PLACE == 1u) { p = y[i]; } else { p = a[place(KIND_A, s, id.z)]; }
  if (IN_PLACE == 2u) { q = y[i]; } else { q = b[place(KIND_B, s, id.z)]; }
  var results: array<f32, LANES>;
  for (var k = 0u; k < LANES; k++) { // @unroll
    results[k] = f(lane(p, k), lane(q, k));
  }
  y[i] = reals_of(results);
}
