// y[i] = x[i] in the storage type `real`. WGSL leaves rounding, and what lies beyond the range of f16, to the device: to nearest and ±infinity on
// those that this was tried on. One invocation: one value.
// @use index
alias real = f32; // storage
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<real>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y[i] = real(x[i]); }
}
