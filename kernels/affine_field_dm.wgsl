// Gradient of affine_field.wgsl for M: m̄[c,j] = Σ_p ȳ[c,p] · (p, 1)[j], as sums over each workgroup: partials[group, 12].
// Layout ȳ [1, 3, D, H, W]. One invocation: every groups·WG-th voxel.
// @use reduce
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32,
        @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let voxels = params.w * params.h * params.d;
  var sums: array<vec4f, 3>;
  for (var i = id.x; i < voxels; i += groups.x * WG) {
    let p = vec4f(f32(i % params.w), f32(i / params.w % params.h), f32(i / (params.w * params.h)), 1.0);
    for (var c = 0u; c < 3u; c++) { sums[c] += dy[c * voxels + i] * p; }
  }
  for (var k = 0u; k < 12u; k++) {
    let total = workgroup_sum(sums[k / 4u][k % 4u], local);
    if (local == 0u) { partials[group.x * 12u + k] = total; }
    workgroupBarrier();
  }
}
