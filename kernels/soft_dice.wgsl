// y = mean over the rows i with Σa² > ε of 1 − 2·Σab/(Σa² + Σb² + ε) (0 where there is none), and slopes[i] = (α, β) such that
// ∂y/∂a = α·b + β·a and ∂y/∂b = α·a + β·b. Layout sums [I, 3] of (ab, a², b²), slopes [I, 2]. One workgroup.
// @use workgroup_sum
struct Params { rows: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> slopes: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) local: u32) {
  var present = 0.0;
  var loss = 0.0;
  for (var i = local; i < params.rows; i += WG) {
    let q = sums[3u * i + 1u] + sums[3u * i + 2u] + params.epsilon;
    if (sums[3u * i + 1u] > params.epsilon) {
      present += 1.0;
      loss += 1.0 - 2.0 * sums[3u * i] / q;
    }
  }
  let count = max(workgroup_sum(present, local), 1.0);
  workgroupBarrier();
  loss = workgroup_sum(loss, local) / count;
  if (local == 0u) { y[0] = loss; }
  for (var i = local; i < params.rows; i += WG) {
    let q = sums[3u * i + 1u] + sums[3u * i + 2u] + params.epsilon;
    let each = select(0.0, 2.0 / (count * q), sums[3u * i + 1u] > params.epsilon);
    slopes[2u * i] = -each;
    slopes[2u * i + 1u] = 2.0 * each * sums[3u * i] / q;
  }
}
