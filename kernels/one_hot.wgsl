// y[n,k,s] = 1 where labels[n,s] is VALUES[k], else 0. Layout [N, S] → [N, K, S]. One invocation: one s, all K; z runs over N.
// @use index
// @const K: u32                 labels
// @const VALUES: array<f32, K>  their values
struct Params { spatial: u32 }
@group(0) @binding(0) var<storage, read> labels: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let label = labels[id.z * params.spatial + s];
  for (var k = 0u; k < K; k++) { y[(id.z * K + k) * params.spatial + s] = select(0.0, 1.0, label == VALUES[k]); }
}
