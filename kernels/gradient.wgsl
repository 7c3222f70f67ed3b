// y[n, 3c + axis] = ∂x[n,c]/∂axis by central differences, one-sided at the border. Layout [N·C, D, H, W] → [N·C, 3, D, H, W].
// One invocation: one voxel of one channel.
// @use difference
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

fn slope(p: u32, step: u32, i: u32, n: u32) -> f32 {
  let at = difference_at(i, n);
  return (x[p + at.up * step] - x[p - at.down * step]) * at.scale;
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let p = (id.z * params.h + id.y) * params.w + id.x;
  let voxels = params.w * params.h * params.d;
  let o = p + id.z / params.d * 2u * voxels;
  y[o] = slope(p, 1u, id.x, params.w);
  y[o + voxels] = slope(p, params.w, id.y, params.h);
  y[o + 2u * voxels] = slope(p, params.w * params.h, id.z % params.d, params.d);
}
