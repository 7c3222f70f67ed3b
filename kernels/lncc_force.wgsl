// force[·,p] = g(p)·gradient[·,p]. g(p) is the derivative of s = c²/(va·vb), the LNCC of the window centred at p, for the one voxel b[p], times
// the voxels of the window: g = 2c/(va·vb + ε) · [(a − ā) − c/(vb + FLAT)·(b − b̄)], at p. The bracket is the residual of the regression of a
// on b: 0 where they agree, so that equal images get no force; with ε in place of FLAT they would. Avants et al., Med. Image Anal. 2008,
// equation 6.
// Both are multiplied by weight[p] where WEIGHTED. From sums t = (Σb, Σb², Σab) over W and H (this kernel adds the D axis) and the
// statistics (mean, variance) of a. partial_sums: Σ weight·s of each invocation. Layout and sums as in local_statistics.wgsl; gradient and
// force [N, 3, D, H, W].
// @use local
// @use fields$BESIDE
// @use fields
// @use lncc
struct Params { lines: u32, w: u32, h: u32, d: u32, runs: u32, radius_w: u32, radius_h: u32, radius_d: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> t: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> force: array<f32>;
@group(0) @binding(7) var<storage, read_write> partial_sums: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines || id.y >= params.runs) { return; }
  let plane = params.w * params.h;
  let voxels = plane * params.d;
  let n = id.x / plane;
  let column = id.x % plane;
  let r = params.radius_d;
  let in_column = column_count(column, params.w, params.h, params.radius_w, params.radius_h);
  let step = plane_step();
  let first = column_of(n, column) + late(params.radius_w); // W and D are stored late
  let start = id.y * RUN;
  var sum = vec3f();
  var similarity = 0.0;
  for (var i = max(start, r) - r; i < min(start + r, params.d); i++) { sum += three(first + (i + r) * step); }
  for (var i = start; i < min(start + RUN, params.d); i++) {
    if (i + r < params.d) { sum += three(first + (i + 2u * r) * step); }
    let p = i * plane + column;
    let x = window_at(sum, in_column * inside(i, params.d, r), n, p);
    let at = n * voxels + p;
    var share = 1.0;
    if (WEIGHTED) { share = weight[at]; }
    let g = share * 2.0 * x.c / x.q * (a[at] - x.mean_a - x.c / (x.var_b + FLAT) * (b[at] - x.mean_b));
    let o = 3u * n * voxels + p;
    force[o] = g * gradient[o];
    force[o + voxels] = g * gradient[o + voxels];
    force[o + 2u * voxels] = g * gradient[o + 2u * voxels];
    similarity += share * x.c * x.c / x.q;
    if (i >= r) { sum -= three(first + i * step); }
  }
  partial_sums[id.y * params.lines + id.x] = similarity;
}
