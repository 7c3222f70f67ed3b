// clip = (min(1, max_norm/(norm + 1e-6)), norm), norm² = Σ squares: the factor that brings gradients to a global norm of at most `max_norm`
// (torch.nn.utils.clip_grad_norm_). A norm that is not finite gives the factor 0, at which no step is taken. One workgroup.
// @use workgroup_sum
// @use finite
struct Params { count: u32, max_norm: f32 }
@group(0) @binding(0) var<storage, read> squares: array<f32>;
@group(0) @binding(1) var<storage, read_write> clip: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) local: u32) {
  var sum = 0.0;
  for (var i = local; i < params.count; i += WG) { sum += squares[i]; }
  let norm = sqrt(workgroup_sum(sum, local));
  if (local == 0u) {
    clip[0] = select(0.0, min(1.0, params.max_norm / (norm + 1e-6)), is_finite(norm));
    clip[1] = norm;
  }
}
