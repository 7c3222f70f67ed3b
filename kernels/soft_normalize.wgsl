// y[n,·,s] = limit · x[n,·,s] / sqrt(|x[n,·,s]|² + ε²): a step in the direction of x, shorter than `limit`, smooth in x.
// Layout [N, C, S]. One invocation: one s, all channels; z runs over N.
// @use index
struct Params { spatial: u32, channels: u32, limit: f32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let first = id.z * params.channels * params.spatial + s;
  var square = params.epsilon * params.epsilon;
  for (var c = 0u; c < params.channels; c++) { let v = x[first + c * params.spatial]; square += v * v; }
  let scale = params.limit * inverseSqrt(square);
  for (var c = 0u; c < params.channels; c++) { y[first + c * params.spatial] = scale * x[first + c * params.spatial]; }
}
