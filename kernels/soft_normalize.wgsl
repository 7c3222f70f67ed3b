// y[n,c,s] = limit · r_c²·x[n,c,s] / sqrt(Σ_c (r_c·x[n,c,s])² + ε²): a step along x, shorter than `limit`, smooth in x. The ratios r
// (finest spacing / spacing along w, h, d) make it the same step in millimetres on every grid.
// Layout [N, 3, S]. One invocation: one s, all channels; z runs over N.
// @use index
struct Params { spatial: u32, limit: f32, epsilon: f32, ratio_w: f32, ratio_h: f32, ratio_d: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let i = id.z * 3u * params.spatial + s;
  let ratio = vec3f(params.ratio_w, params.ratio_h, params.ratio_d);
  let even = ratio * vec3f(x[i], x[i + params.spatial], x[i + 2u * params.spatial]);
  let step = params.limit * ratio * even * inverseSqrt(dot(even, even) + params.epsilon * params.epsilon);
  y[i] = step.x;
  y[i + params.spatial] = step.y;
  y[i + 2u * params.spatial] = step.z;
}
