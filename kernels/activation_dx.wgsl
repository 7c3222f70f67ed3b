// dx[i] = dy[i] · f′, f′ the derivative of the activation, from its output y[i]. IN_PLACE: dy lies in dx. One
// invocation: one value.
// @use index
// @use activation
alias real = f32; // storage
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> y: array<real>;
@group(0) @binding(1) var<storage, read> dy: array<real>;
@group(0) @binding(2) var<storage, read_write> dx: array<real>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  var g: real;
  if (IN_PLACE == 1u) { g = dx[i]; } else { g = dy[i]; }
  dx[i] = real(f32(g) * activation_slope(f32(y[i])));
}
