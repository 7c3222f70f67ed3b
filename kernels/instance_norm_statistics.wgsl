// statistics[i] = (mean of x less the instance's first value, 1/sqrt(variance + ε)), the variance biased, from the partial moments of
// instance_norm_moments.wgsl. Layout partials [I, P, 3], statistics [I, 2]. One workgroup: one instance i.
// @use moments
struct Params { partials: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  var moments = Moments(0.0, 0.0, 0.0);
  for (var p = local; p < params.partials; p += WG) {
    let at = 3u * (group.x * params.partials + p);
    moments = unite(moments, Moments(partials[at], partials[at + 1u], partials[at + 2u]));
  }
  moments = workgroup_moments(moments, local);
  if (local == 0u) {
    statistics[2u * group.x] = moments.mean;
    statistics[2u * group.x + 1u] = 1.0 / sqrt(moments.squares / moments.count + params.epsilon);
  }
}
