// b̄[p] of the mean LNCC from the sums (ΣP, ΣQ, ΣR) of terms over the window around p: ȳ/count · (a·ΣP − ΣR + 2b·ΣQ). FORCE: that of its force,
// without the factor, added to what b̄ holds. The kernel's bindings a, b (centred), dy and db.
fn gather(p: u32, sum: vec3f) {
  let gradient = a[p] * sum.x - sum.z + 2.0 * b[p] * sum.y;
  if (FORCE) { db[p] += gradient; } else { db[p] = dy[0] * params.scale * gradient; }
}
