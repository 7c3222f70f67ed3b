// Along an axis, t[i] ← Σ_{|k| ≤ R} of the late values of i + k (lib/fields.wgsl), 0 outside. BACK does the reverse: from values stored at i to
// sums stored late, at i + R. Running sums as in window_sum.wgsl. Lines of n values, `step` apart; `across` of them `apart` from each other in
// each of the planes, which lie from `first` on; a line goes through `depth` of them. One invocation: a line.
// @use fields$BESIDE
// @use fields
// @use fields_set
// @use in_place
struct Params {
  lines: u32, n: u32, step: u32, radius: u32, across: u32, apart: u32, first: u32, depth: u32, w: u32, h: u32, d: u32,
  radius_w: u32, radius_h: u32, radius_d: u32,
}
@group(0) @binding(0) var<storage, read_write> t: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines) { return; }
  let r = params.radius;
  let n = params.n;
  let plane = id.x / params.across * params.depth;
  var first = params.first + (plane + plane / params.d * params.radius_d) * plane_step() + id.x % params.across * params.apart;
  var step = params.step;
  if (BACK) {
    first += (n + r - 1u) * step;
    step = 0u - step; // unsigned numbers go round
  }
  for (var start = 0u; start < n; start += RUN) {
    var sum = vec3f();
    for (var i = max(start, r) - r; i < min(start + r, n); i++) { sum += three(first + (i + r) * step); }
    for (var ahead = start; ahead < min(start + RUN, n); ahead += AHEAD) {
      look_ahead(first, step, ahead, n, r);
      for (var k = 0u; k < AHEAD; k++) {
        if (ahead + k >= n) { break; }
        sum += entering[k];
        set_three(first + (ahead + k) * step, sum);
        if (ahead + k >= r) { sum -= leaving[k]; }
      }
    }
  }
}
