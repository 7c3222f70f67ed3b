// partial[g] = Σ over the voxels of workgroup g of Σ_axis s_axis · (u[p + e_axis] − u[p])²: diffusion regulariser, forward differences.
// Layout [N·C, D, H, W]; the scales hold weight / number of differences along the axis. One invocation: RUN values of u along D, so that
// the sum over the workgroup, which costs more than a value, is rare.
// @use batch
// @use workgroup_sum
// @const RUN: u32  voxels along D of an invocation
struct Params { w: u32, h: u32, d: u32, runs: u32, scale_w: f32, scale_h: f32, scale_d: f32 }
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32,
        @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  var energy = 0.0;
  if (id.x < params.w && id.y < params.h) {
    let plane = params.w * params.h;
    let item = batch_of(id.z, params.runs);
    let begin = (id.z - item * params.runs) * RUN;
    let end = min(begin + RUN, params.d);
    var p = ((item * params.d + begin) * params.h + id.y) * params.w + id.x;
    var centre = u[p];
    for (var z = begin; z < end; z++) {
      if (id.x + 1u < params.w) { let e = u[p + 1u] - centre; energy += params.scale_w * e * e; }
      if (id.y + 1u < params.h) { let e = u[p + params.w] - centre; energy += params.scale_h * e * e; }
      if (z + 1u < params.d) {
        let next = u[p + plane];
        let e = next - centre;
        energy += params.scale_d * e * e;
        centre = next;
      }
      p += plane;
    }
  }
  let total = workgroup_sum(energy, local);
  if (local == 0u) { partials[(group.z * groups.y + group.y) * groups.x + group.x] = total; }
}
