// dx = γ_c/sqrt(variance + ε) · (dy − (Σdy + x̂·Σ(dy·x̂))/S), sums over the S voxels of each instance i = (n, c); γ = 1 without AFFINE.
// Layout [I, S], statistics [I, 2], sums and products [I]. One invocation: one value; z runs over I.
// @use index
// @const AFFINE: bool  gamma is there
struct Params { spatial: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read> products: array<f32>;
@group(0) @binding(5) var<storage, read> gamma: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let start = id.z * params.spatial;
  let scale = statistics[2u * id.z + 1u];
  let normalised = (x[start + s] - x[start] - statistics[2u * id.z]) * scale;
  var value = scale * (dy[start + s] - (sums[id.z] + normalised * products[id.z]) / f32(params.spatial));
  if (AFFINE) { value *= gamma[id.z % params.channels]; }
  dx[start + s] = value;
}
