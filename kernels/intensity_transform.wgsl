// y[i] = gain·sign(x)·|x|^γ + offset + σ·noise[i], t = (γ, gain, offset, σ); without NOISY the last term is left out.
// One invocation: one value.
// @use index
// @const NOISY: bool  noise is added
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read> noise: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  let magnitude = abs(x[i]);
  let power = select(pow(magnitude, t[0]), 0.0, magnitude == 0.0); // where a driver's pow may be NaN
  var value = t[1] * sign(x[i]) * power + t[2];
  if (NOISY) { value += t[3] * noise[i]; }
  y[i] = value;
}
