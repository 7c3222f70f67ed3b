// A Gaussian's weights, from the kernel's params, 1 in all; and Σ weight(|k|) over the k in −RADIUS..RADIUS that stay inside a line of params.n voxels
// around voxel i.
// @const RADIUS: i32  of the filter, in voxels
fn weight(k: i32) -> f32 { return params.weights[k / 4][k % 4]; }

fn norm(i: i32) -> f32 {
  let n = i32(params.n);
  if (i >= RADIUS && i + RADIUS < n) { return 1.0; }
  var sum = 0.0;
  for (var k = -RADIUS; k <= RADIUS; k++) {
    if (i + k >= 0 && i + k < n) { sum += weight(abs(k)); }
  }
  return sum;
}
