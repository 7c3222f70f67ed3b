// What LNCC knows of two images a and b in the window centred at a voxel: means, variances, covariance c, q = va·vb + ε. From the sums
// (Σb, Σb², Σab) over the window, its voxels inside the volume, mean and variance of a there, and ε of the kernel's `params`.
// @use local
struct Window { count: f32, mean_a: f32, mean_b: f32, var_a: f32, var_b: f32, c: f32, q: f32 }

fn window_of(sum: vec3f, count: f32, mean_a: f32, var_a: f32) -> Window {
  var x: Window;
  x.count = count;
  x.mean_a = mean_a;
  x.var_a = var_a;
  x.mean_b = mean(sum.x, count);
  x.var_b = max(0.0, mean(sum.y, count) - x.mean_b * x.mean_b);
  x.c = mean(sum.z, count) - mean_a * x.mean_b;
  x.q = var_a * x.var_b + params.epsilon;
  return x;
}

// Variance of images in 0…1 that is rounding error: keeps the regression of a on b finite in windows of one value.
const FLAT = 1e-8;
