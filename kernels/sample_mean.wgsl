// y[0] = mean of evenly spaced values of x: a constant near the image's level. Variances do not depend on the
// constant that is subtracted first, but in f32 they need one: E[x²] − E[x]² of values 1000 ± 1 is rounding error. One workgroup.
// @use workgroup_sum
struct Params { count: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) local: u32) {
  var sum = 0.0;
  for (var i = local * params.stride; i < params.count; i += WG * params.stride) {
    sum += x[i];
  }
  let total = workgroup_sum(sum, local);
  if (local == 0u) { y[0] = total / f32((params.count + params.stride - 1u) / params.stride); }
}
