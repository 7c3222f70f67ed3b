// partial[g] = Σ over the items of workgroup g of x (SUM), x·y (DOT) or max |x| (LARGEST; of NaN, NaN). Items are dealt to workgroups
// in a fixed order, so that the result is the same in every run. A second launch over the partials ends it. Partials start at `offset`.
// x and y are read in `count` items of LANES values.
// @use items$LANES
// @const MODE: u32  SUM, DOT or LARGEST
struct Params { count: u32, offset: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> x: array<item>;
@group(0) @binding(1) var<storage, read> y: array<item>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

const_assert WG <= 64u || (WG & (WG - 1u)) == 0u; // a tree halves
var<workgroup> values: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let share = (params.count + groups.x - 1u) / groups.x; // of a workgroup, in one piece
  var value = 0.0;
  for (var i = group.x * share + local; i < min((group.x + 1u) * share, params.count); i += WG) {
    let taken = x[i];
    if (MODE == DOT) {
      value += inner(taken, y[i]);
    } else {
      for (var k = 0u; k < LANES; k++) { // @unroll
        if (MODE == LARGEST) { value = larger(value, abs(lane(taken, k))); } else { value += lane(taken, k); }
      }
    }
  }
  values[local] = value;
  if (WG > 64u) { // a tree for a GPU: where a CPU computes, a barrier costs as much as a hundred loads
    for (var half = WG / 2u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (local < half) { values[local] = joined_values(values[local], values[local + half]); }
    }
    if (local != 0u) { return; }
    value = values[0];
  } else {
    workgroupBarrier();
    if (local != 0u) { return; }
    for (var i = 1u; i < WG; i++) { value = joined_values(value, values[i]); }
  }
  partials[params.offset + group.x] = select(params.scale * value, value, MODE == LARGEST);
}

fn joined_values(a: f32, b: f32) -> f32 {
  if (MODE == LARGEST) { return larger(a, b); }
  return a + b;
}

const SUM = 0u;
const DOT = 1u;
const LARGEST = 2u;

// Of two that are not negative, by their bits: in this order NaN is above infinity, while max() may drop it.
fn larger(a: f32, b: f32) -> f32 { return bitcast<f32>(max(bitcast<u32>(a), bitcast<u32>(b))); }
