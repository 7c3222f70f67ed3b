// Σ g_k over the k in −RADIUS..RADIUS that stay inside a line of params.n voxels around voxel i; g_k = WEIGHTS[k + RADIUS], 1 in all.
fn norm(i: i32) -> f32 {
  let n = i32(params.n);
  if (i >= RADIUS && i + RADIUS < n) { return 1.0; }
  var sum = 0.0;
  for (var k = -RADIUS; k <= RADIUS; k++) {
    if (i + k >= 0 && i + k < n) { sum += WEIGHTS[k + RADIUS]; }
  }
  return sum;
}
