// partial[g] = Σ over the items of workgroup g of x (SUM), x·y (DOT) or max |x| (LARGEST; of NaN, NaN). Items are dealt to workgroups
// in a fixed order, so that the result is the same in every run. A second launch over the partials ends it. Partials start at `offset`.
// @use reduce
struct Params { count: u32, offset: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32,
        @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  var value = 0.0;
  for (var i = id.x; i < params.count; i += groups.x * WG) {
    if (MODE == LARGEST) { value = larger(value, abs(x[i])); }
    else if (MODE == DOT) { value += x[i] * y[i]; }
    else { value += x[i]; }
  }
  if (MODE == LARGEST) { value = workgroup_largest(value, local); } else { value = params.scale * workgroup_sum(value, local); }
  if (local == 0u) { partials[params.offset + group.x] = value; }
}

const SUM = 0u;
const DOT = 1u;
const LARGEST = 2u;

// Of two that are not negative, by their bits: in this order NaN is above infinity, while max() may drop it.
fn larger(a: f32, b: f32) -> f32 { return bitcast<f32>(max(bitcast<u32>(a), bitcast<u32>(b))); }

fn workgroup_largest(value: f32, local: u32) -> f32 {
  shared_sum[local] = value;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { shared_sum[local] = larger(shared_sum[local], shared_sum[local + half]); }
  }
  workgroupBarrier();
  return shared_sum[0];
}
