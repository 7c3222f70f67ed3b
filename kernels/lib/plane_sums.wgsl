// Σ value over the window along W and H, what lies outside being 0, for every voxel p = [N·D, H, W]. For a GPU: neighbours along
// W read side by side, and nothing is written in between. One invocation: RUN voxels along H, by a running sum, begun anew every RUN rows so
// that rounding does not pile up; `across` columns of all planes. The kernel gives value(p, n) and finish(p, n, sum), n the item of p.
// A window has ROWS rows of COLUMNS voxels.
const RADIUS_W = (COLUMNS - 1u) / 2u;
const RADIUS_H = (ROWS - 1u) / 2u;

// The sums of the rows in the window, every invocation's own: in registers they would need a loop written out for each of them.
var<workgroup> rows: array<array<vec3f, WG>, ROWS>;

// Over the window along W, in the row that begins at `row`; 0 for a row outside.
fn row_sum(row: u32, n: u32, w: u32, inside: bool) -> vec3f {
  var sum = vec3f();
  if (!inside) { return sum; }
  for (var k = 0u; k < COLUMNS; k++) { // @unroll
    let i = w + k - RADIUS_W; // to the left of 0 it goes round, to above params.w
    if (i < params.w) { sum += value(row + i, n); }
  }
  return sum;
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  if (id.x >= params.across) { return; }
  let w = id.x % params.w;
  let n = id.x / (params.w * params.d);
  let plane = id.x / params.w * params.h;
  let start = id.y * RUN;
  let end = min(start + RUN, params.h);
  var sum = vec3f();
  for (var i = 0u; i < end - start + 2u * RADIUS_H; i++) {
    let entering = start + i - RADIUS_H; // the last row of the window around `centre`
    let row = row_sum((plane + entering) * params.w, n, w, entering < params.h);
    let slot = i % ROWS;
    sum += row - rows[slot][local]; // 0 at first
    rows[slot][local] = row;
    if (i >= 2u * RADIUS_H) { finish((plane + entering - RADIUS_H) * params.w + w, n, sum); }
  }
}
