// Σ value over the window along W and H, what lies outside being 0, for every voxel p = [N·D, H, W]. For a GPU. A workgroup takes WG columns of a
// plane, RADIUS_W on either side for its neighbours' sake alone, and walks RUN rows down: every invocation keeps the running sum of its column over
// the window along H, restarted with every run so that rounding does not pile up, and adds those of the columns in the window along W.
// The kernel gives value(p, n), n the item of p; load(p), what else it reads of voxel p; and finish(p, n, sum, loaded). What AHEAD rows need is loaded
// before any is written.
// @const RUN: u32       rows of a workgroup
// @const RADIUS_W: u32  of the window along W
// @const RADIUS_H: u32  and along H
// @const AHEAD: u32     rows that are loaded before any is written, even
const_assert AHEAD % 2u == 0u;
var<workgroup> columns: array<array<vec3f, WG>, 2>; // by turns, so that one barrier a row will do

fn sum_planes(group: vec3u, local: u32) {
  let w = group.x * (WG - 2u * RADIUS_W) + local - RADIUS_W; // to the left of 0 it wraps, to above params.w
  let exists = w < params.w;
  let makes = exists && local >= RADIUS_W && local + RADIUS_W < WG;
  let n = group.z / params.d;
  let start = group.y * RUN;
  let end = min(start + RUN, params.h);
  let first = group.z * params.h * params.w + min(w, params.w - 1u);
  var sum = vec3f();
  for (var k = 0u; k < 2u * RADIUS_H; k++) { // the rows above, without the last of the first window
    let row = start + k - RADIUS_H;
    if (exists && row < params.h) { sum += value(first + row * params.w, n); }
  }
  for (var ahead = start; ahead < end; ahead += AHEAD) {
    var entering: array<vec3f, AHEAD>;
    var leaving: array<vec3f, AHEAD>;
    var loaded: array<Loaded, AHEAD>;
    for (var k = 0u; k < AHEAD; k++) { // @unroll
      let row = min(ahead + k, end - 1u);
      let last = row + RADIUS_H;
      let gone = row - RADIUS_H;
      entering[k] = select(vec3f(), value(first + min(last, params.h - 1u) * params.w, n), exists && last < params.h);
      leaving[k] = select(vec3f(), value(first + min(gone, params.h - 1u) * params.w, n), exists && gone < params.h);
      if (makes) { loaded[k] = load(first + row * params.w); } // others' are being written by their workgroup
    }
    for (var k = 0u; k < AHEAD; k++) { // @unroll
      if (ahead + k < end) { // of the whole workgroup
        sum += entering[k];
        columns[k % 2u][local] = sum;
        workgroupBarrier();
        if (makes) {
          var total = vec3f();
          for (var j = 0u; j <= 2u * RADIUS_W; j++) { total += columns[k % 2u][local + j - RADIUS_W]; }
          finish(first + (ahead + k) * params.w, n, total, loaded[k]);
        }
        sum -= leaving[k];
      }
    }
  }
}
