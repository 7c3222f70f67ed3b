// Σ value over the window along W and H, what lies outside being 0, for every voxel p = [N·D, H, W]. For a GPU: neighbours along
// W read side by side, and nothing is written in between. One invocation: RUN voxels along H, by a running sum, begun anew every RUN rows so
// that rounding does not pile up; `across` columns of all planes. The kernel gives value(p, n) and finish(p, n, sum), n the item of p.
const ROWS = 2u * RADIUS_H + 1u; // of a window

// Over the window along W, in the row that begins at `row`; 0 for a row outside.
fn row_sum(row: u32, n: u32, w: u32, inside: bool) -> vec3f {
  var sum = vec3f();
  if (!inside) { return sum; }
  for (var k = 0u; k <= 2u * RADIUS_W; k++) {
    let i = w + k - RADIUS_W; // to the left of 0 it goes round, to above params.w
    if (i < params.w) { sum += value(row + i, n); }
  }
  return sum;
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.across) { return; }
  let w = id.x % params.w;
  let n = id.x / (params.w * params.d);
  let plane = id.x / params.w * params.h;
  let start = id.y * RUN;
  let end = min(start + RUN, params.h);
  var sum = vec3f();
  var rows: array<vec3f, ROWS>; // the sums of the rows in the window
  for (var first = start; first < end + 2u * RADIUS_H; first += ROWS) {
    for (var slot = 0u; slot < ROWS; slot++) { // a constant number of times: unrolled, the slots are registers
      let entering = first + slot - RADIUS_H; // the last row of the window around `centre`
      let centre = entering - RADIUS_H;
      let row = row_sum((plane + entering) * params.w, n, w, entering < min(end + RADIUS_H, params.h));
      sum += row - rows[slot];
      rows[slot] = row;
      if (centre >= start && centre < end) { finish((plane + centre) * params.w + w, n, sum); }
    }
  }
}
