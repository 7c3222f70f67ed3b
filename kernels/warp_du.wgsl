// Gradient of warp for the displacement: ū[n,·,p] = Mᵀ · Σ_c ȳ[n,c,p] · ∂image[n,c]/∂x at x = M·(p + u[n,p]); 0 along clamped axes.
// One invocation: one voxel p, all channels. Layout and sampling as in warp.wgsl.
// @use corners
// @use voxel
// @use matrix
// @const CHANNELS: u32  of the image
struct Params {
  matrix: array<vec4f, 3>, // M, by rows
  image_w: u32, image_h: u32, image_d: u32, w: u32, h: u32, d: u32,
}
@group(0) @binding(0) var<storage, read> image: array<f32>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> du: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

alias texel = f32;
fn texel_at(i: u32) -> texel { return image[i]; }

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w * params.h) { return; }
  let voxel = voxel_of(id);
  let voxels = params.w * params.h * params.d;
  let o = voxel.n * 3u * voxels + voxel.p;
  let size = vec3u(params.image_w, params.image_h, params.image_d);
  let cell = locate(mapped(voxel.position + vec3f(u[o], u[o + voxels], u[o + 2u * voxels])), size);
  var g = vec3f(0.0);
  for (var k = 0u; k < CHANNELS; k++) {
    let c = voxel.n * CHANNELS + k;
    let slope = slopes(corners_of(c * size.x * size.y * size.z, cell), cell.fraction);
    g += dy[c * voxels + voxel.p] * vec3f(slope.w, slope.h, slope.d);
  }
  let out = rows() * (cell.unclamped * g);
  du[o] = out.x;
  du[o + voxels] = out.y;
  du[o + 2u * voxels] = out.z;
}
