// y[n, to + c, s] = x[n, from + c, s] for c < count; with EXPAND, x has one channel that goes to every c. One invocation: one
// item of LANES values side by side.
// @use items$LANES
// @use index
// @const EXPAND: bool  x has one channel
struct Params { spatial: u32, count: u32, from_channel: u32, from_channels: u32, to_channel: u32, to_channels: u32 }
@group(0) @binding(0) var<storage, read> x: array<item>;
@group(0) @binding(1) var<storage, read_write> y: array<item>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let n = id.z / params.count;
  let c = id.z % params.count;
  let source = n * params.from_channels + params.from_channel + select(c, 0u, EXPAND);
  y[(n * params.to_channels + params.to_channel + c) * params.spatial + s] = x[source * params.spatial + s];
}
