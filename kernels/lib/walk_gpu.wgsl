// Running sums over the window along a line of n voxels, `step` apart from `first` on, stored shifted (lib/fields.wgsl), restarted every RUN voxels so
// that rounding does not pile up. The kernel gives load(i), what else it reads of voxel i, and visit(i, sum, loaded), which may write over t there.
// For a GPU: an invocation walks run `run` of a line, and loads what AHEAD voxels need before it writes any of them, since it is kept busy by many
// loads at a time. OVERWRITES, all runs of a line are one workgroup's, and each reads at first the REACH = 2r voxels that the next one writes over.
// @use fields
// @const RUN: u32          voxels of an invocation
// @const AHEAD: u32        voxels that are loaded before any is written
// @const REACH: u32        2r
// @const OVERWRITES: bool  visit writes over t
var<workgroup> beyond: array<array<f32, WG>, max(1u, 3u * REACH * u32(OVERWRITES))>;

fn walk_line(first: u32, step: u32, n: u32, r: u32, run: u32, local: u32) {
  let start = min(run * RUN, n);
  let end = min(start + RUN, n); // a line that does not exist has n = 0
  var sum = vec3f();
  for (var k = 0u; k < REACH; k++) { // @unroll
    let at = start + k;
    if (start < end && at >= r && at < n + r) { sum += three(first + at * step); }
  }
  if (OVERWRITES) {
    for (var k = 0u; k < REACH; k++) {
      var entering = vec3f();
      if (start < end && end + k < n + r) { entering = three(first + (end + k) * step); }
      beyond[3u * k][local] = entering.x;
      beyond[3u * k + 1u][local] = entering.y;
      beyond[3u * k + 2u][local] = entering.z;
    }
    storageBarrier();
  }
  for (var ahead = start; ahead < end; ahead += AHEAD) {
    var entering: array<vec3f, AHEAD>;
    var leaving: array<vec3f, AHEAD>;
    var loaded: array<Loaded, AHEAD>;
    for (var k = 0u; k < AHEAD; k++) { // @unroll
      let i = min(ahead + k, end - 1u);
      let at = i + REACH;
      if (OVERWRITES && at >= end) {
        let first = 3u * (at - end);
        entering[k] = vec3f(beyond[first][local], beyond[first + 1u][local], beyond[first + 2u][local]);
      } else if (at < n + r) {
        entering[k] = three(first + at * step);
      } else {
        entering[k] = vec3f();
      }
      leaving[k] = three(first + i * step);
      loaded[k] = load(i);
    }
    for (var k = 0u; k < AHEAD; k++) { // @unroll
      if (ahead + k < end) {
        sum += entering[k];
        visit(ahead + k, sum, loaded[k]);
        if (ahead + k >= r) { sum -= leaving[k]; } // of voxels from r on
      }
    }
  }
}
