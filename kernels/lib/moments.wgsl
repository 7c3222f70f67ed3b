// Count, mean and sum of squared deviations of a set of values, and of the union of two sets (Chan, Golub & LeVeque 1983): unlike
// E[x²] − E[x]², nothing cancels in f32. Over a workgroup of WG invocations in an order that depends on nothing but WG.
struct Moments { count: f32, mean: f32, squares: f32 }

fn unite(a: Moments, b: Moments) -> Moments {
  let count = a.count + b.count;
  if (count == 0.0) { return a; }
  let difference = b.mean - a.mean;
  let share = b.count / count;
  return Moments(count, a.mean + difference * share, a.squares + b.squares + difference * difference * a.count * share);
}

const_assert (WG & (WG - 1u)) == 0u; // a tree halves
var<workgroup> shared_moments: array<Moments, WG>;

fn workgroup_moments(value: Moments, local: u32) -> Moments {
  shared_moments[local] = value;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { shared_moments[local] = unite(shared_moments[local], shared_moments[local + half]); }
  }
  workgroupBarrier();
  return shared_moments[0];
}
