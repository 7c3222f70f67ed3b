// y = x̂·γ_c + β_c, x̂ = (x − mean)/sqrt(variance + ε) over the voxels of each instance i = (n, c); without AFFINE y = x̂. Statistics as
// instance_norm_statistics.wgsl leaves them. Ulyanov et al. 2016. Layout [I, S]. One invocation: one value; z runs over I.
// @use index
// @const AFFINE: bool  gamma and beta are there
struct Params { spatial: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let start = id.z * params.spatial;
  var value = (x[start + s] - x[start] - statistics[2u * id.z]) * statistics[2u * id.z + 1u];
  if (AFFINE) {
    let c = id.z % params.channels;
    value = value * gamma[c] + beta[c];
  }
  y[start + s] = value;
}
