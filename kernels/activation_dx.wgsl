// dx[i] = dy[i] · f′, f′ the derivative of the activation, from its output y[i]. IN_PLACE: dy lies in dx. One
// invocation: LANES values in a row; `count` such items.
// @use index
// @use activation
// @use reals$LANES
// @const IN_PLACE: u32  1: dy lies in dx
alias real = f32; // storage
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> y: array<reals>;
@group(0) @binding(1) var<storage, read> dy: array<reals>;
@group(0) @binding(2) var<storage, read_write> dx: array<reals>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  var g: reals;
  if (IN_PLACE == 1u) { g = dx[i]; } else { g = dy[i]; }
  let values = y[i];
  var results: array<f32, LANES>;
  for (var k = 0u; k < LANES; k++) { // @unroll
    results[k] = lane(g, k) * activation_slope(lane(values, k));
  }
  dx[i] = reals_of(results);
}
