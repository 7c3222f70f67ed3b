// Running sums over the window along a line of n voxels, `step` apart from `first` on, stored shifted (lib/fields.wgsl), restarted every RUN voxels so
// that rounding does not pile up. The kernel gives load(i), what else it reads of voxel i, and visit(i, sum, loaded), which may write over t there.
// For a CPU: voxel after voxel, each load where it is needed.
// @use fields
// @const RUN: u32          voxels between fresh sums
// @const OVERWRITES: bool  visit writes over t
fn walk(first: u32, step: u32, n: u32, r: u32, start: u32, end: u32) {
  var sum = vec3f();
  for (var i = max(start, r) - r; i < min(start + r, n); i++) { sum += three(first + (i + r) * step); }
  for (var i = start; i < end; i++) {
    if (i + r < n) { sum += three(first + (i + 2u * r) * step); }
    let leaving = three(first + i * step); // of voxels from r on
    visit(i, sum, load(i));
    if (i >= r) { sum -= leaving; }
  }
}

// Run `run` of a line; or, OVERWRITES, all of them, one after the other, so that nobody else needs what is written over.
fn walk_line(first: u32, step: u32, n: u32, r: u32, run: u32, local: u32) {
  if (!OVERWRITES) { walk(first, step, n, r, run * RUN, min((run + 1u) * RUN, n)); return; }
  for (var start = 0u; start < n; start += RUN) { walk(first, step, n, r, start, min(start + RUN, n)); }
}
