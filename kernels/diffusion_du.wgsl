// Gradient of the diffusion regulariser: ū[p] = ȳ · Σ_axis 2·s_axis · ((u[p] − u[p − e]) − (u[p + e] − u[p])), terms inside only.
// Layout and scales as in diffusion.wgsl. One invocation: one value of u.
struct Params { w: u32, h: u32, d: u32, scale_w: f32, scale_h: f32, scale_d: f32 }
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> du: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn bend(p: u32, step: u32, i: u32, n: u32) -> f32 {
  var sum = 0.0;
  if (i > 0u) { sum += u[p] - u[p - step]; }
  if (i + 1u < n) { sum += u[p] - u[p + step]; }
  return 2.0 * sum;
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let p = (id.z * params.h + id.y) * params.w + id.x;
  du[p] = dy[0] * (params.scale_w * bend(p, 1u, id.x, params.w) + params.scale_h * bend(p, params.w, id.y, params.h)
    + params.scale_d * bend(p, params.w * params.h, id.z % params.d, params.d));
}
