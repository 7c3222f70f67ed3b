// Sum over a workgroup of WG invocations, in an order that depends on nothing but WG. Up to 64 one barrier and no tree: where a CPU computes, a
// barrier costs as much as a hundred loads. Before it is called again, a barrier.
const_assert WG <= 64u || (WG & (WG - 1u)) == 0u; // a tree halves
var<workgroup> shared_sum: array<f32, WG>;

fn workgroup_sum(value: f32, local: u32) -> f32 {
  shared_sum[local] = value;
  if (WG <= 64u) {
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < WG; i++) { total += shared_sum[i]; }
    return total;
  }
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { shared_sum[local] += shared_sum[local + half]; }
  }
  workgroupBarrier();
  return shared_sum[0];
}
