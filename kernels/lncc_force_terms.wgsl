// What the gradient of force = g·gradient (lncc_force.wgsl) for b needs of each window, γ = ⟨dforce, gradient⟩ the cotangent of g = r·h,
// r = 2c/q, h = α − c·β/f, α = a − ā, β = b − b̄, f = vb + FLAT:
//   C = ∂/∂c = γ·(2h/q − r·β/f), V = ∂/∂vb = γ·r·(c·β/f² − va·h/q), B = ∂/∂β = −γ·r·c/f,
//   terms = (C, V, C·ā + 2V·b̄ + B)/n for lncc_gradient.wgsl, in the place of t; db = B, what is each voxel's own. Layout, sums and lines
// as in lncc_terms.wgsl.
// @use local
// @use fields$BESIDE
// @use fields
// @use fields_set
// @use in_place
// @use lncc
struct Params { lines: u32, w: u32, h: u32, d: u32, radius_w: u32, radius_h: u32, radius_d: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read_write> t: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read> dforce: array<f32>;
@group(0) @binding(6) var<storage, read_write> db: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines) { return; }
  let plane = params.w * params.h;
  let voxels = plane * params.d;
  let n = id.x / plane;
  let column = id.x % plane;
  let r = params.radius_d;
  let in_column = column_count(column, params.w, params.h, params.radius_w, params.radius_h);
  let step = plane_step();
  let first = column_of(n, column) + late(params.radius_w); // W and D are stored late
  for (var start = 0u; start < params.d; start += RUN) { // sums are begun anew
    var sum = vec3f();
    for (var i = max(start, r) - r; i < min(start + r, params.d); i++) { sum += three(first + (i + r) * step); }
    for (var ahead = start; ahead < min(start + RUN, params.d); ahead += AHEAD) {
      look_ahead(first, step, ahead, params.d, r);
      for (var k = 0u; k < AHEAD; k++) {
        if (ahead + k >= params.d) { break; }
        let i = ahead + k;
        sum += entering[k];
        let p = i * plane + column;
        let x = window_at(sum, in_column * inside(i, params.d, r), n, p);
        let at = n * voxels + p;
        let o = 3u * n * voxels + p;
        let next = o + voxels;
        let last = next + voxels;
        let cotangent = dforce[o] * gradient[o] + dforce[next] * gradient[next] + dforce[last] * gradient[last];
        let f = x.var_b + FLAT;
        let ratio = x.c / f;
        let beta = b[at] - x.mean_b;
        let h = a[at] - x.mean_a - ratio * beta;
        let factor = 2.0 * cotangent / x.q;
        let of_c = factor * (h - ratio * beta);
        let of_var = factor * x.c * (ratio * beta / f - x.var_a * h / x.q);
        let of_own = -factor * x.c * ratio;
        db[at] = of_own;
        set_three(first + i * step, vec3f(of_c, of_var, of_c * x.mean_a + 2.0 * of_var * x.mean_b + of_own) / x.count);
        if (i >= r) { sum -= leaving[k]; }
      }
    }
  }
}
