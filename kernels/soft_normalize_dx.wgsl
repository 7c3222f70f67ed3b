// Gradient of soft_normalize.wgsl: x̄ = limit · (ȳ − x·⟨x, ȳ⟩/q) / sqrt(q), q = |x|² + ε². Layout [N, C, S]. One invocation: one s, all channels.
// @use index
struct Params { spatial: u32, channels: u32, limit: f32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let first = id.z * params.channels * params.spatial + s;
  var square = params.epsilon * params.epsilon;
  var along = 0.0;
  for (var c = 0u; c < params.channels; c++) {
    let v = x[first + c * params.spatial];
    square += v * v;
    along += v * dy[first + c * params.spatial];
  }
  let scale = params.limit * inverseSqrt(square);
  for (var c = 0u; c < params.channels; c++) {
    let i = first + c * params.spatial;
    dx[i] = scale * (dy[i] - x[i] * along / square);
  }
}
