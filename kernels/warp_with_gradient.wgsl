// warped[n,p] and gradient[n,·,p]: the image and its gradient (with_gradient.wgsl) at p + u[n,p], trilinear, border clamped.
// Interpolating the gradient, rather than differentiating the interpolation, makes a force that is continuous in u.
// Layout image [N, D, H, W] vec4f, u and gradient [N, 3, D, H, W], warped [N, 1, D, H, W]. One invocation: one voxel.
// @use trilinear
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> image: array<vec4f>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read_write> warped: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let n = id.z / params.d;
  let d = id.z % params.d;
  let voxels = params.w * params.h * params.d;
  let p = (d * params.h + id.y) * params.w + id.x;
  let o = n * 3u * voxels + p;
  let c = locate(vec3f(f32(id.x) + u[o], f32(id.y) + u[o + voxels], f32(d) + u[o + 2u * voxels]), vec3u(params.w, params.h, params.d));
  let i = n * voxels + c.base;
  let j = i + c.step.z;
  let near = mix(mix(image[i], image[i + c.step.x], c.at.x), mix(image[i + c.step.y], image[i + c.step.y + c.step.x], c.at.x), c.at.y);
  let far = mix(mix(image[j], image[j + c.step.x], c.at.x), mix(image[j + c.step.y], image[j + c.step.y + c.step.x], c.at.x), c.at.y);
  let value = mix(near, far, c.at.z);
  warped[n * voxels + p] = value.x;
  gradient[o] = value.y;
  gradient[o + voxels] = value.z;
  gradient[o + 2u * voxels] = value.w;
}
