// SUMS sums over a workgroup of WG invocations: the invocation `local` < SUMS gets the sum of all values[local], in an order that depends on
// nothing but WG. Up to 64 one barrier for all and no tree: where a CPU computes, a barrier costs as much as a hundred loads.
const_assert WG <= 64u || (WG & (WG - 1u)) == 0u; // a tree halves
var<workgroup> shared_sums: array<f32, WG * SUMS>;

fn workgroup_sums(values: array<f32, SUMS>, local: u32) -> f32 {
  for (var k = 0u; k < SUMS; k++) { shared_sums[local * SUMS + k] = values[k]; }
  if (WG <= 64u) {
    workgroupBarrier();
    var total = 0.0;
    if (local < SUMS) {
      for (var i = 0u; i < WG; i++) { total += shared_sums[i * SUMS + local]; }
    }
    return total;
  }
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) {
      for (var k = 0u; k < SUMS; k++) { shared_sums[local * SUMS + k] += shared_sums[(local + half) * SUMS + k]; }
    }
  }
  workgroupBarrier();
  return shared_sums[min(local, SUMS - 1u)];
}
