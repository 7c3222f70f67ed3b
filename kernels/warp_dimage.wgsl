// Gradient of warp for the image, a scatter: every ȳ[n,c,p] goes to the 8 voxels it was sampled from, with their weights.
// Sums are whole numbers, so that their order does not matter: t = round(w·ȳ·2^30/max|ȳ|) is added to a 64-bit integer in two words.
// Range: 2^33 contributions to one voxel; resolution 2^-30 of the largest |ȳ|. Layout as in warp.wgsl.
// @use trilinear
// @use voxel
// @use matrix
struct Params {
  matrix: array<vec4f, 3>, // M, by rows
  image_w: u32, image_h: u32, image_d: u32, channels: u32, w: u32, h: u32, d: u32,
}
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> largest: array<f32>;
@group(0) @binding(3) var<storage, read_write> low: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read_write> high: array<atomic<i32>>;
@group(0) @binding(5) var<uniform> params: Params;

fn put(i: u32, value: f32) {
  let t = i32(round(value));
  if (t == 0) { return; }
  let before = atomicAdd(&low[i], bitcast<u32>(t));
  let carry = select(0, 1, before > ~bitcast<u32>(t));
  let up = carry + (t >> 31u);
  if (up != 0) { atomicAdd(&high[i], up); }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w * params.h || largest[0] == 0.0) { return; }
  let voxel = voxel_of(id);
  let voxels = params.w * params.h * params.d;
  let o = voxel.n * 3u * voxels + voxel.p;
  let size = vec3u(params.image_w, params.image_h, params.image_d);
  let cell = locate(mapped(voxel.position + vec3f(u[o], u[o + voxels], u[o + 2u * voxels])), size);
  for (var c = voxel.n * params.channels; c < (voxel.n + 1u) * params.channels; c++) {
    let value = dy[c * voxels + voxel.p] / largest[0] * 1073741824.0;
    for (var k = 0u; k < 8u; k++) {
      let corner = vec3u(k & 1u, (k >> 1u) & 1u, k >> 2u);
      let weight = select(1.0 - cell.fraction, cell.fraction, corner == vec3u(1u));
      let offset = corner * cell.step;
      put(c * size.x * size.y * size.z + cell.base + offset.x + offset.y + offset.z, value * weight.x * weight.y * weight.z);
    }
  }
}
