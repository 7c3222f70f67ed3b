// warped[n,p] and gradient[n,·,p]: the image and its gradient by u, at x = M·(p + u[n,p]), trilinear, border clamped. The gradient is
// Mᵀ times that of with_gradient.wgsl, interpolated: unlike the derivative of the interpolation, it is continuous in u. Outside
// the image, where the clamped value is constant, it fades to 0 within one voxel.
// Layout image [N, Di, Hi, Wi] vec4f, u and gradient [N, 3, D, H, W], warped [N, 1, D, H, W]. One invocation: one voxel.
// @use corners
// @use voxel
// @use matrix
struct Params {
  matrix: array<vec4f, 3>, // M, by rows
  image_w: u32, image_h: u32, image_d: u32, w: u32, h: u32, d: u32,
}
@group(0) @binding(0) var<storage, read> image: array<vec4f>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read_write> warped: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

alias texel = vec4f; // the value and its slopes
fn texel_at(i: u32) -> texel { return image[i]; }

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w * params.h) { return; }
  let voxel = voxel_of(id);
  let voxels = params.w * params.h * params.d;
  let o = voxel.n * 3u * voxels + voxel.p;
  let size = vec3u(params.image_w, params.image_h, params.image_d);
  let x = mapped(voxel.position + vec3f(u[o], u[o + voxels], u[o + 2u * voxels]));
  let c = locate(x, size);
  let fade = max(vec3f(0.0), 1.0 - abs(x - clamp(x, vec3f(0.0), vec3f(size - 1u))));
  let value = interpolated(corners_of(voxel.n * size.x * size.y * size.z, c), c.fraction);
  warped[voxel.n * voxels + voxel.p] = value.x;
  let slope = rows() * (fade * value.yzw);
  gradient[o] = slope.x;
  gradient[o + voxels] = slope.y;
  gradient[o + 2u * voxels] = slope.z;
}
