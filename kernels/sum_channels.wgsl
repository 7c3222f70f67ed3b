// y[n,s] = Σ_c x[n,c,s]. Layout [N, C, S] → [N, 1, S]. One invocation: one s; z runs over N.
// @use index
struct Params { spatial: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  var sum = 0.0;
  for (var c = 0u; c < params.channels; c++) { sum += x[(id.z * params.channels + c) * params.spatial + s]; }
  y[id.z * params.spatial + s] = sum;
}
