// Local normalized cross-correlation s = c² / (va·vb + ε) per window, and what its gradient for b needs, from sums
// t = (Σb, Σb², Σab) over W and H (this kernel adds the D axis) and the statistics (mean, variance) of a:
//   terms = (P, Q, P·ā + 2Q·b̄), P = 2c/q/n, Q = −c²·va/q²/n, q = va·vb + ε, n the window's voxels inside the volume.
// They take the place of t, plane i at i (lib/fields.wgsl). One invocation: one line along D, so that nobody else needs what it overwrites.
// partial_sums: Σ s of each invocation. Layout as in local_statistics.wgsl. Avants et al., Med. Image Anal. 2008, squared form.
// @use local
// @use fields$BESIDE
// @use fields
// @use fields_set
// @use in_place
// @use lncc
struct Params { lines: u32, w: u32, h: u32, d: u32, radius_w: u32, radius_h: u32, radius_d: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read_write> t: array<f32>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines) { return; }
  let plane = params.w * params.h;
  let n = id.x / plane;
  let column = id.x % plane;
  let r = params.radius_d;
  let in_column = column_count(column, params.w, params.h, params.radius_w, params.radius_h);
  let step = plane_step();
  let first = column_of(n, column) + late(params.radius_w); // W and D are stored late
  var similarity = 0.0;
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
        let big_p = 2.0 * x.c / (x.q * x.count);
        let big_q = -x.c * x.c * x.var_a / (x.q * x.q * x.count);
        similarity += x.c * x.c / x.q;
        set_three(first + i * step, vec3f(big_p, big_q, big_p * x.mean_a + 2.0 * big_q * x.mean_b));
        if (i >= r) { sum -= leaving[k]; }
      }
    }
  }
  partial_sums[id.x] = similarity;
}
