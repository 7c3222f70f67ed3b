// Gradient of det(I + ∇u): ū[c,q] = Σ_axis Σ_p ȳ[p] · cofactor[c,axis](p) · (factor with which the difference at p reads q).
// A gather: q is read by its neighbours along each axis, and by itself at the border. One invocation: one voxel q.
// @use jacobian
// @use batch
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> du: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let size = vec3u(params.w, params.h, params.d);
  let voxels = size.x * size.y * size.z;
  let n = batch_of(id.z, params.d);
  let q = vec3u(id.xy, id.z - n * params.d);
  var sum = vec3f(0.0);
  for (var axis = 0u; axis < 3u; axis++) {
    for (var offset = -1; offset <= 1; offset++) {
      let i = i32(q[axis]) - offset;
      if (i < 0 || i >= i32(size[axis])) { continue; }
      let factor = difference_factor(u32(i), offset, size[axis]);
      if (factor == 0.0) { continue; }
      var p = q;
      p[axis] = u32(i);
      let rows = jacobian_at(n * 3u * voxels, p, size);
      let weight = factor * dy[n * voxels + (p.z * size.y + p.y) * size.x + p.x];
      sum += weight * vec3f(cross(rows[1], rows[2])[axis], cross(rows[2], rows[0])[axis], cross(rows[0], rows[1])[axis]);
    }
  }
  let o = n * 3u * voxels + (q.z * size.y + q.y) * size.x + q.x;
  for (var c = 0u; c < 3u; c++) { du[o + c * voxels] = sum[c]; }
}
