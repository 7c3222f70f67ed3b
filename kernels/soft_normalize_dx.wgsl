// Gradient of soft_normalize.wgsl: with e = r·x, ē = limit · (r·ȳ − e·⟨e, r·ȳ⟩/q) / sqrt(q), q = |e|² + ε²; x̄ = r·ē. Layout [N, 3, S].
// One invocation: one s, all channels.
// @use index
struct Params { spatial: u32, limit: f32, epsilon: f32, ratio_w: f32, ratio_h: f32, ratio_d: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let i = id.z * 3u * params.spatial + s;
  let ratio = vec3f(params.ratio_w, params.ratio_h, params.ratio_d);
  let even = ratio * vec3f(x[i], x[i + params.spatial], x[i + 2u * params.spatial]);
  let bar = ratio * vec3f(dy[i], dy[i + params.spatial], dy[i + 2u * params.spatial]);
  let q = dot(even, even) + params.epsilon * params.epsilon;
  let slope = params.limit * ratio * (bar - even * dot(even, bar) / q) * inverseSqrt(q);
  dx[i] = slope.x;
  dx[i + params.spatial] = slope.y;
  dx[i + 2u * params.spatial] = slope.z;
}
