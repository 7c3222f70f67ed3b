// b̄[p] of the mean LNCC from the sums (ΣP, ΣQ, ΣR) of terms over the window around p: ȳ/count · (a·ΣP − ΣR + 2b·ΣQ). FORCE: that of its force,
// without the factor, added to what b̄ holds `before`. a and b (centred) there, and the kernel's bindings dy and db.
// @const FORCE: bool  the gradient of the force, not of the mean
fn gather(p: u32, sum: vec3f, a: f32, b: f32, before: f32) {
  let gradient = a * sum.x - sum.z + 2.0 * b * sum.y;
  db[p] = select(dy[0] * params.scale * gradient, before + gradient, FORCE);
}

// What b̄ holds before.
fn gathered(p: u32) -> f32 {
  if (FORCE) { return db[p]; }
  return 0.0;
}
