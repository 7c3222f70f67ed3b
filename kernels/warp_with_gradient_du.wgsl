// Gradient of warp_with_gradient.wgsl for the displacement: ū[n,·,p] = Mᵀ·x̄. With v = M·dgradient, the cotangent of the faded slopes,
//   x̄_k = ⟨(dwarped, fade·v), ∂image/∂x_k⟩ (0 along clamped axes) + fade'_k · slope_k · v_k (0 along all others).
// Cotangents that are not there (WARPED, GRADIENT) count as 0. One invocation: one voxel p. Layout and sampling as there.
// @use corners
// @use voxel
// @use matrix
// @const WARPED: bool    dwarped is there
// @const GRADIENT: bool  dgradient is there
struct Params {
  matrix: array<vec4f, 3>, // M, by rows
  image_w: u32, image_h: u32, image_d: u32, w: u32, h: u32, d: u32,
}
@group(0) @binding(0) var<storage, read> image: array<vec4f>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read> dwarped: array<f32>;
@group(0) @binding(3) var<storage, read> dgradient: array<f32>;
@group(0) @binding(4) var<storage, read_write> du: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

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
  let beyond = x - clamp(x, vec3f(0.0), vec3f(size - 1u));
  let fade = max(vec3f(0.0), 1.0 - abs(beyond));
  let corners = corners_of(voxel.n * size.x * size.y * size.z, c);
  var v = vec3f(0.0);
  if (GRADIENT) {
    v = vec3f(dgradient[o], dgradient[o + voxels], dgradient[o + 2u * voxels]) * rows();
  }
  var cotangent = vec4f(0.0, fade * v);
  if (WARPED) { cotangent.x = dwarped[voxel.n * voxels + voxel.p]; }
  let along = slopes(corners, c.fraction);
  let inside = vec3f(dot(cotangent, along.w), dot(cotangent, along.h), dot(cotangent, along.d));
  let fading = -sign(beyond) * ceil(fade);
  let out = c.unclamped * inside + fading * interpolated(corners, c.fraction).yzw * v;
  let slope = rows() * out;
  du[o] = slope.x;
  du[o + voxels] = slope.y;
  du[o + 2u * voxels] = slope.z;
}
