// force[·,p] = g(p)·gradient[·,p]. g(p) is the derivative of s = c²/(va·vb), the LNCC of the window centred at p, for the one voxel b[p], times
// the voxels of the window: g = 2c/(va·vb + ε) · [(a − ā) − c/(vb + FLAT)·(b − b̄)], at p. The bracket is the residual of the regression of a
// on b: 0 where they agree, so that equal images get no force; with ε in place of FLAT they would. Avants et al., Med. Image Anal. 2008,
// equation 6.
// Both are multiplied by weight[p] where WEIGHTED. From sums t = (Σb, Σb², Σab) over W and H (this kernel adds the D axis) and the
// statistics (mean, variance) of a. partial_sums: Σ weight·s of each invocation. Layout and sums as in local_statistics.wgsl; gradient and
// force [N, 3, D, H, W].
// @use column
// @use walk_$PROCESSOR
// @use lncc
// @const WEIGHTED: bool  by weight
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

var<private> similarity: f32;

struct Loaded { a: f32, b: f32, mean: f32, variance: f32, share: f32, gradient: vec3f }

fn load(i: u32) -> Loaded {
  let voxels = column.plane * params.d;
  let p = column.n * voxels + voxel(i);
  let first = p + column.n * voxels; // of 2 channels
  let o = first + column.n * voxels; // of 3
  var share = 1.0;
  if (WEIGHTED) { share = weight[p]; }
  return Loaded(a[p], b[p], statistics[first], statistics[first + voxels], share,
    vec3f(gradient[o], gradient[o + voxels], gradient[o + 2u * voxels]));
}

fn visit(i: u32, sum: vec3f, loaded: Loaded) {
  let x = window_of(sum, count_at(i), loaded.mean, loaded.variance);
  let g = loaded.share * 2.0 * x.c / x.q * (loaded.a - x.mean_a - x.c / (x.var_b + FLAT) * (loaded.b - x.mean_b));
  let voxels = column.plane * params.d;
  let o = 3u * column.n * voxels + voxel(i);
  force[o] = g * loaded.gradient.x;
  force[o + voxels] = g * loaded.gradient.y;
  force[o + 2u * voxels] = g * loaded.gradient.z;
  similarity += loaded.share * x.c * x.c / x.q;
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  let exists = id.x < params.lines && id.y < params.runs;
  take_column(id.x);
  walk_line(column.first, plane_step(), select(0u, params.d, exists), params.radius_d, id.y, local);
  if (exists) { partial_sums[id.y * params.lines + id.x] = similarity; }
}
