// Local normalized cross-correlation s = c² / (va·vb + ε) per window, and what its gradient for b needs, from sums
// t = (Σb, Σb², Σab, ·) over W and H (this kernel adds the D axis) and the statistics (mean, variance) of a:
//   terms = (P, Q, P·ā + 2Q·b̄, s), P = 2c/q/n, Q = −c²·va/q²/n, q = va·vb + ε, n the window's voxels inside the volume.
// partial_sums: Σ s of each invocation. Layout as in local_statistics.wgsl. Avants et al., Med. Image Anal. 2008, squared form.
// @use local
// @use lncc
struct Params { lines: u32, w: u32, h: u32, d: u32, runs: u32, radius_w: u32, radius_h: u32, radius_d: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> t: array<vec4f>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>;
@group(0) @binding(2) var<storage, read_write> terms: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partial_sums: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines || id.y >= params.runs) { return; }
  let plane = params.w * params.h;
  let voxels = plane * params.d;
  let n = id.x / plane;
  let column = id.x % plane;
  let r = params.radius_d;
  let in_column = column_count(column, params.w, params.h, params.radius_w, params.radius_h);
  let start = id.y * RUN;
  var sum = vec4f();
  var similarity = 0.0;
  for (var i = max(start, r) - r; i < min(start + r, params.d); i++) { sum += t[n * voxels + i * plane + column]; }
  for (var i = start; i < min(start + RUN, params.d); i++) {
    if (i + r < params.d) { sum += t[n * voxels + (i + r) * plane + column]; }
    let p = i * plane + column;
    let x = window_at(sum, in_column * inside(i, params.d, r), n, p);
    let big_p = 2.0 * x.c / (x.q * x.count);
    let big_q = -x.c * x.c * x.var_a / (x.q * x.q * x.count);
    let s = x.c * x.c / x.q;
    terms[n * voxels + p] = vec4f(big_p, big_q, big_p * x.mean_a + 2.0 * big_q * x.mean_b, s);
    similarity += s;
    if (i >= r) { sum -= t[n * voxels + (i - r) * plane + column]; }
  }
  partial_sums[id.y * params.lines + id.x] = similarity;
}
