// Local normalized cross-correlation s = c² / (va·vb + ε) per window, and what its gradient for b needs, from sums
// t = (Σb, Σb², Σab, ·) over W and H (this kernel adds the D axis) and the statistics (mean, variance) of a:
//   terms = (P, Q, P·ā + 2Q·b̄, s), P = 2c/q/n, Q = −c²·va/q²/n, q = va·vb + ε, n the window's voxels inside the volume.
// partial[g] = Σ s over workgroup g. Layout as in local_statistics.wgsl. Avants et al., Med. Image Anal. 2008, squared form.
// @use local
// @use reduce
struct Params { lines: u32, w: u32, h: u32, d: u32, runs: u32, radius_w: u32, radius_h: u32, radius_d: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> t: array<vec4f>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>;
@group(0) @binding(2) var<storage, read_write> terms: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partial_sums: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32,
        @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let plane = params.w * params.h;
  let voxels = plane * params.d;
  let n = id.x / plane;
  let column = id.x % plane;
  let r = params.radius_d;
  let start = select(params.d, id.y * RUN, id.x < params.lines && id.y < params.runs);
  var sum = vec4f();
  var similarity = 0.0;
  for (var i = max(start, r) - r; i < min(start + r, params.d) && start < params.d; i++) { sum += t[n * voxels + i * plane + column]; }
  for (var i = start; i < min(start + RUN, params.d); i++) {
    if (i + r < params.d) { sum += t[n * voxels + (i + r) * plane + column]; }
    let p = i * plane + column;
    let count = window_count(p, vec3u(params.w, params.h, params.d), vec3u(params.radius_w, params.radius_h, r));
    let mean_a = statistics[2u * n * voxels + p];
    let var_a = statistics[(2u * n + 1u) * voxels + p];
    let mean_b = sum.x / count;
    let var_b = max(0.0, sum.y / count - mean_b * mean_b);
    let c = sum.z / count - mean_a * mean_b;
    let q = var_a * var_b + params.epsilon;
    let big_p = 2.0 * c / (q * count);
    let big_q = -c * c * var_a / (q * q * count);
    let s = c * c / q;
    terms[n * voxels + p] = vec4f(big_p, big_q, big_p * mean_a + 2.0 * big_q * mean_b, s);
    similarity += s;
    if (i >= r) { sum -= t[n * voxels + (i - r) * plane + column]; }
  }
  let total = workgroup_sum(similarity, local);
  if (local == 0u) { partial_sums[group.y * groups.x + group.x] = total; }
}
