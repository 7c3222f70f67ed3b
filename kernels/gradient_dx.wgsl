// Adjoint of gradient.wgsl: x̄[q] = Σ_axis Σ_p ȳ[axis,p] · (factor with which the difference at p reads q), p = q and its neighbours.
// One invocation: one voxel q of one channel.
// @use difference
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

fn gather(p: u32, step: u32, i: u32, n: u32) -> f32 {
  var sum = difference_factor(i, 0, n) * dy[p];
  if (i > 0u) { sum += difference_factor(i - 1u, 1, n) * dy[p - step]; }
  if (i + 1u < n) { sum += difference_factor(i + 1u, -1, n) * dy[p + step]; }
  return sum;
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let p = (id.z * params.h + id.y) * params.w + id.x;
  let voxels = params.w * params.h * params.d;
  let o = p + id.z / params.d * 2u * voxels;
  dx[p] = gather(o, 1u, id.x, params.w) + gather(o + voxels, params.w, id.y, params.h)
    + gather(o + 2u * voxels, params.w * params.h, id.z % params.d, params.d);
}
