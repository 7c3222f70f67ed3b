// y[i] = f(x[i]), f an activation chosen by the constant ACTIVATION. One invocation: LANES values in a row; `count` such items.
// @use index
// @use activation
// @use reals$LANES
alias real = f32; // storage
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> x: array<reals>;
@group(0) @binding(1) var<storage, read_write> y: array<reals>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  let values = x[i];
  var results: array<f32, LANES>;
  for (var k = 0u; k < LANES; k++) { // @unroll
    results[k] = activate(lane(values, k));
  }
  y[i] = reals_of(results);
}
