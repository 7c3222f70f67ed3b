// y[n,p] = (x, ∂x/∂w, ∂x/∂h, ∂x/∂d)[n,p]: an image and its gradient, side by side for sampling together. Differences of fourth order,
// (8·(x[i+1] − x[i−1]) − (x[i+2] − x[i−2]))/12, indices clamped to the volume: sharper on fine structures than central ones.
// Layout [N, 1, D, H, W] → [N, D, H, W] vec4f. One invocation: one voxel.
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

// The derivative at voxel p, coordinate i of n along an axis whose neighbours lie `step` apart.
fn slope(p: u32, step: u32, i: u32, n: u32) -> f32 {
  let up = min(n - 1u - i, 2u);
  let down = min(i, 2u);
  let near = x[p + min(up, 1u) * step] - x[p - min(down, 1u) * step];
  let far = x[p + up * step] - x[p - down * step];
  return (8.0 * near - far) / 12.0;
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let p = (id.z * params.h + id.y) * params.w + id.x;
  y[p] = vec4f(x[p], slope(p, 1u, id.x, params.w), slope(p, params.w, id.y, params.h),
    slope(p, params.w * params.h, id.z % params.d, params.d));
}
