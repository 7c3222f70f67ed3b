// Gradient of affine_field.wgsl for M: m̄[c,j] = Σ_p ȳ[c,p] · (p, 1)[j], as sums over each workgroup: partials[group, 12].
// Layout ȳ [1, 3, D, H, W]. One invocation: every groups·WG-th voxel.
// @use workgroup_sums
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

const SUMS = 12u;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32,
        @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let voxels = params.w * params.h * params.d;
  var sums: array<f32, SUMS>;
  for (var i = id.x; i < voxels; i += groups.x * WG) {
    let p = vec4f(f32(i % params.w), f32(i / params.w % params.h), f32(i / (params.w * params.h)), 1.0);
    for (var k = 0u; k < SUMS; k++) { sums[k] += dy[k / 4u * voxels + i] * p[k % 4u]; }
  }
  let total = workgroup_sums(sums, local);
  if (local < SUMS) { partials[group.x * SUMS + local] = total; }
}
