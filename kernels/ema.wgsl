// average ← decay·average + (1 − decay)·x. One invocation: an item of LANES values, `count` of them.
// @use index
// @use items$LANES
struct Params { count: u32, decay: f32 }
@group(0) @binding(0) var<storage, read> x: array<item>;
@group(0) @binding(1) var<storage, read_write> average: array<item>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { average[i] += (1.0 - params.decay) * (x[i] - average[i]); }
}
