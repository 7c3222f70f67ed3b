// Gradient of warp_with_gradient.wgsl for the displacement: ū[n,·,p] = Mᵀ·x̄. With v = M·dgradient, the cotangent of the faded slopes,
//   x̄_k = ⟨(dwarped, fade·v), ∂image/∂x_k⟩ (0 along clamped axes) + fade'_k · slope_k · v_k (0 along all others).
// Cotangents that are not there (WARPED, GRADIENT) count as 0. One invocation: one voxel p. Layout and sampling as there.
// @use trilinear
// @use matrix
// @use batch
struct Params {
  image_w: u32, image_h: u32, image_d: u32, w: u32, h: u32, d: u32,
  m00: f32, m01: f32, m02: f32, m03: f32, m10: f32, m11: f32, m12: f32, m13: f32, m20: f32, m21: f32, m22: f32, m23: f32,
}
@group(0) @binding(0) var<storage, read> image: array<vec4f>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read> dwarped: array<f32>;
@group(0) @binding(3) var<storage, read> dgradient: array<f32>;
@group(0) @binding(4) var<storage, read_write> du: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w * params.h) { return; }
  let n = batch_of(id.z, params.d);
  let d = id.z - n * params.d;
  let h = quotient(id.x, params.w);
  let w = id.x - h * params.w;
  let voxels = params.w * params.h * params.d;
  let p = d * params.h * params.w + id.x;
  let o = n * 3u * voxels + p;
  let q = vec3f(f32(w) + u[o], f32(h) + u[o + voxels], f32(d) + u[o + 2u * voxels]);
  let size = vec3u(params.image_w, params.image_h, params.image_d);
  let x = mapped(q);
  let c = locate(x, size);
  let beyond = x - clamp(x, vec3f(0.0), vec3f(size - 1u));
  let fade = max(vec3f(0.0), 1.0 - abs(beyond));
  let i = n * size.x * size.y * size.z + c.base;
  let j = i + c.step.z;
  let v000 = image[i]; let v001 = image[i + c.step.x]; let v010 = image[i + c.step.y]; let v011 = image[i + c.step.y + c.step.x];
  let v100 = image[j]; let v101 = image[j + c.step.x]; let v110 = image[j + c.step.y]; let v111 = image[j + c.step.y + c.step.x];
  let low = mix(v000, v001, c.at.x); let mid = mix(v010, v011, c.at.x);
  let high = mix(v100, v101, c.at.x); let top = mix(v110, v111, c.at.x);
  let near = mix(low, mid, c.at.y); let far = mix(high, top, c.at.y);
  var v = vec3f(0.0);
  if (GRADIENT) {
    v = vec3f(dgradient[o], dgradient[o + voxels], dgradient[o + 2u * voxels]) * rows();
  }
  var cotangent = vec4f(0.0, fade * v);
  if (WARPED) { cotangent.x = dwarped[n * voxels + p]; }
  let inside = vec3f(
    dot(cotangent, mix(mix(v001 - v000, v011 - v010, c.at.y), mix(v101 - v100, v111 - v110, c.at.y), c.at.z)),
    dot(cotangent, mix(mid - low, top - high, c.at.z)),
    dot(cotangent, far - near));
  let fading = -sign(beyond) * ceil(fade);
  let out = c.free * inside + fading * mix(near, far, c.at.z).yzw * v;
  let slope = rows() * out;
  du[o] = slope.x;
  du[o + voxels] = slope.y;
  du[o + 2u * voxels] = slope.z;
}
