// What LNCC knows of two images a and b in the window centred at voxel p of item n: means, variances, covariance c, q = va·vb + ε. From the
// sums (Σb, Σb², Σab) over the window, its voxels inside the volume, and the kernel's own bindings `statistics` (mean, variance of a) and
// `params`.
struct Window { count: f32, mean_a: f32, mean_b: f32, var_a: f32, var_b: f32, c: f32, q: f32 }

fn window_at(sum: vec3f, count: f32, n: u32, p: u32) -> Window {
  let voxels = params.w * params.h * params.d;
  var x: Window;
  x.count = count;
  x.mean_a = statistics[2u * n * voxels + p];
  x.var_a = statistics[(2u * n + 1u) * voxels + p];
  x.mean_b = mean(sum.x, x.count);
  x.var_b = max(0.0, mean(sum.y, x.count) - x.mean_b * x.mean_b);
  x.c = mean(sum.z, x.count) - x.mean_a * x.mean_b;
  x.q = x.var_a * x.var_b + params.epsilon;
  return x;
}

// Variance of images in 0…1 that is rounding error: keeps the regression of a on b finite in windows of one value.
const FLAT = 1e-8;
