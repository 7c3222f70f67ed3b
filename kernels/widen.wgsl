// y[i] = x[i] in f32, x of the storage type `real`. One invocation: one value.
// @use index
alias real = f32; // storage
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> x: array<real>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y[i] = f32(x[i]); }
}
