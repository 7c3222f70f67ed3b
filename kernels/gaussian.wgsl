// y[i] = Σ_k g_k·x[i+k] / Σ_k g_k over the k in −R..R that stay inside, along one axis; g_k = weight(|k|), Gaussian.
// Lines of n items (f32, or vec4f: four neighbours along W at once), `step` apart; in each plane of `plane` items `across` lines, `apart` from
// each other. One invocation: RUN outputs in a row, so that the 2R + RUN inputs are loaded once. Neighbours are of neighbouring lines, or,
// SIDEWAYS, of the same line: so along W on a GPU, to read side by side.
// TRANSPOSE divides x before the sum instead of y after it: the exact adjoint.
// @use items$LANES
// @use gaussian_norm
// @const RUN: i32         outputs of an invocation
// @const SIDEWAYS: bool   neighbours are of one line
// @const TRANSPOSE: bool  the adjoint
struct Params { weights: array<vec4f, RADIUS / 4 + 1>, n: u32, step: u32, runs: u32, across: u32, apart: u32, plane: u32 }
@group(0) @binding(0) var<storage, read> x: array<item>;
@group(0) @binding(1) var<storage, read_write> y: array<item>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let line = select(id.x, id.y, SIDEWAYS);
  let run = select(id.y, id.x, SIDEWAYS);
  if (line >= params.across || run >= params.runs) { return; }
  let n = i32(params.n);
  let first = id.z * params.plane + line * params.apart;
  let start = i32(run) * RUN;
  var window: array<item, RUN + 2 * RADIUS>;
  for (var k = 0; k < RUN + 2 * RADIUS; k++) {
    let i = start + k - RADIUS;
    var value = item();
    if (i >= 0 && i < n) {
      value = x[first + u32(i) * params.step];
      if (TRANSPOSE) { value /= norm(i); }
    }
    window[k] = value;
  }
  for (var k = 0; k < RUN; k++) {
    var sum = item();
    for (var j = 0; j <= 2 * RADIUS; j++) { sum += weight(abs(j - RADIUS)) * window[k + j]; }
    let i = start + k;
    if (i < n) {
      if (!TRANSPOSE) { sum /= norm(i); }
      y[first + u32(i) * params.step] = sum;
    }
  }
}
