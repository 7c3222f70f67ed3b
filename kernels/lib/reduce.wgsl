// Sum over a workgroup of WG invocations, in an order that depends on nothing but WG.
var<workgroup> shared_sum: array<f32, WG>;

fn workgroup_sum(value: f32, local: u32) -> f32 {
  shared_sum[local] = value;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { shared_sum[local] += shared_sum[local + half]; }
  }
  workgroupBarrier();
  return shared_sum[0];
}
