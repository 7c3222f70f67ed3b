// y[j] = Σ_i partials[i, first + j]: ends the weight gradient. Layout [chunks, length]. One invocation: one weight or bias j.
// @use index
struct Params { count: u32, chunks: u32, length: u32, first: u32 }
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let j = flat_index(id, groups);
  if (j >= params.count) { return; }
  var sum = 0.0;
  for (var i = 0u; i < params.chunks; i++) { sum += partials[i * params.length + params.first + j]; }
  y[j] = sum;
}
