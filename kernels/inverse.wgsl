// The inverse v of a displacement u, and what it leaves, r: v[p] + u(M·(p + v[p])) = r[p] ≈ 0, at every voxel p by itself. Damped Newton steps from
// −u: one that would not make |r| less is halved. u by components along (w, h, d), each [Di, Hi, Wi], in voxels of v's grid, whose voxels M leads to
// those of u's; trilinear, border clamped. Layout of v and r [3, D, H, W]. One invocation: one voxel.
// @use corners
// @use voxel
// @use matrix
struct Params {
  matrix: array<vec4f, 3>, // M, by rows
  image_w: u32, image_h: u32, image_d: u32, w: u32, h: u32, d: u32,
  tolerance: f32, iterations: u32,
}
@group(0) @binding(0) var<storage, read> u_w: array<f32>;
@group(0) @binding(1) var<storage, read> u_h: array<f32>;
@group(0) @binding(2) var<storage, read> u_d: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> r: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

alias texel = vec3f; // the components of u
fn texel_at(i: u32) -> texel { return vec3f(u_w[i], u_h[i], u_d[i]); }

struct Guess { v: vec3f, r: vec3f, error: f32, step: vec3f } // |r|²; Newton's step, or −r where u folds all to one place

// Determinant of dr/dv below which it has no inverse.
const FLAT = 1e-6;

fn guess(p: vec3f, v: vec3f) -> Guess {
  let cell = locate(mapped(p + v), vec3u(params.image_w, params.image_h, params.image_d));
  let around = corners_of(0u, cell);
  let slope = slopes(around, cell.fraction);
  let r = v + interpolated(around, cell.fraction);
  let du = mat3x3f(cell.unclamped.x * slope.w, cell.unclamped.y * slope.h, cell.unclamped.z * slope.d) * transpose(rows());
  let a = vec3f(1.0, 0.0, 0.0) + du[0]; // columns of dr/dv
  let b = vec3f(0.0, 1.0, 0.0) + du[1];
  let c = vec3f(0.0, 0.0, 1.0) + du[2];
  let across = mat3x3f(cross(b, c), cross(c, a), cross(a, b));
  let det = dot(a, across[0]);
  return Guess(v, r, dot(r, r), -select(r, (r * across) / det, abs(det) > FLAT));
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w * params.h) { return; }
  let voxel = voxel_of(id);
  let u = guess(voxel.position, vec3f(0.0)).r;
  var best = guess(voxel.position, -u);
  var length = 1.0;
  for (var n = 0u; n < params.iterations && best.error > params.tolerance * params.tolerance; n++) {
    let next = guess(voxel.position, best.v + length * best.step);
    length = select(0.5 * length, 1.0, next.error < best.error);
    if (next.error < best.error) { best = next; }
  }
  let voxels = params.w * params.h * params.d;
  for (var k = 0u; k < 3u; k++) {
    v[voxel.p + k * voxels] = best.v[k];
    r[voxel.p + k * voxels] = best.r[k];
  }
}
