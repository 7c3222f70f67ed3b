// y[j] = Σ_i x[i, j]: ends a reduction of several values at once. Layout [rows, columns]. One workgroup: one column j.
// @use workgroup_sum
struct Params { rows: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  var sum = 0.0;
  for (var i = local; i < params.rows; i += WG) { sum += x[i * params.columns + group.x]; }
  let total = workgroup_sum(sum, local);
  if (local == 0u) { y[group.x] = total; }
}
