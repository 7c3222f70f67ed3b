// Local normalized cross-correlation s = c² / (va·vb + ε) per window, and what its gradient for b needs, from sums
// t = (Σb, Σb², Σab) over W and H (this kernel adds the D axis) and the statistics (mean, variance) of a:
//   terms = (P, Q, P·ā + 2Q·b̄), P = 2c/q/n, Q = −c²·va/q²/n, q = va·vb + ε, n the window's voxels inside the volume.
// They take the place of t, plane i at i (lib/fields.wgsl). One invocation: a line along D, or a run of one (lib/walk_cpu, lib/walk_gpu.wgsl).
// partial_sums: Σ s of each invocation. Layout as in local_statistics.wgsl. Avants et al., Med. Image Anal. 2008, squared form.
// @use fields_set
// @use column
// @use walk_$PROCESSOR
// @use lncc
struct Params { lines: u32, w: u32, h: u32, d: u32, radius_w: u32, radius_h: u32, radius_d: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read_write> t: array<f32>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

var<private> similarity: f32;

struct Loaded { mean: f32, variance: f32 }

fn load(i: u32) -> Loaded {
  let voxels = column.plane * params.d;
  let p = 2u * column.n * voxels + voxel(i);
  return Loaded(statistics[p], statistics[p + voxels]);
}

fn visit(i: u32, sum: vec3f, loaded: Loaded) {
  let x = window_of(sum, count_at(i), loaded.mean, loaded.variance);
  let big_p = 2.0 * x.c / (x.q * x.count);
  let big_q = -x.c * x.c * x.var_a / (x.q * x.q * x.count);
  similarity += x.c * x.c / x.q;
  set_three(column.first + i * plane_step(), vec3f(big_p, big_q, big_p * x.mean_a + 2.0 * big_q * x.mean_b));
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  let exists = id.x < params.lines;
  take_column(id.x);
  walk_line(column.first, plane_step(), select(0u, params.d, exists), params.radius_d, id.y, local);
  if (exists) { partial_sums[id.y * params.lines + id.x] = similarity; }
}
