// What the gradient of force = g·gradient (lncc_force.wgsl) for b needs of each window, γ = ⟨dforce, gradient⟩ the cotangent of g = r·h,
// r = 2c/q, h = α − c·β/f, α = a − ā, β = b − b̄, f = vb + FLAT:
//   C = ∂/∂c = γ·(2h/q − r·β/f), V = ∂/∂vb = γ·r·(c·β/f² − va·h/q), B = ∂/∂β = −γ·r·c/f,
//   terms = (C, V, C·ā + 2V·b̄ + B)/n for lncc_gradient_cpu and _gpu.wgsl, in the place of t; db = B, what is each voxel's own. Layout, sums and lines
// as in lncc_terms.wgsl.
// @use fields_set
// @use column
// @use walk_$PROCESSOR
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

struct Loaded { a: f32, b: f32, mean: f32, variance: f32, cotangent: f32 }

fn load(i: u32) -> Loaded {
  let voxels = column.plane * params.d;
  let p = column.n * voxels + voxel(i);
  let first = p + column.n * voxels; // of 2 channels
  let o = first + column.n * voxels; // of 3
  let next = o + voxels;
  let last = next + voxels;
  return Loaded(a[p], b[p], statistics[first], statistics[first + voxels],
    dforce[o] * gradient[o] + dforce[next] * gradient[next] + dforce[last] * gradient[last]);
}

fn visit(i: u32, sum: vec3f, loaded: Loaded) {
  let x = window_of(sum, count_at(i), loaded.mean, loaded.variance);
  let f = x.var_b + FLAT;
  let ratio = x.c / f;
  let beta = loaded.b - x.mean_b;
  let h = loaded.a - x.mean_a - ratio * beta;
  let factor = 2.0 * loaded.cotangent / x.q;
  let of_c = factor * (h - ratio * beta);
  let of_var = factor * x.c * (ratio * beta / f - x.var_a * h / x.q);
  let of_own = -factor * x.c * ratio;
  db[column.n * column.plane * params.d + voxel(i)] = of_own;
  set_three(column.first + i * plane_step(), vec3f(of_c, of_var, of_c * x.mean_a + 2.0 * of_var * x.mean_b + of_own) / x.count);
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  take_column(id.x);
  walk_line(column.first, plane_step(), select(0u, params.d, id.x < params.lines), params.radius_d, id.y, local);
}
