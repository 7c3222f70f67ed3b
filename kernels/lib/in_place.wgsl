// A running sum along a line of n voxels, `step` apart from `first` on, that is written over (lib/fields.wgsl): what it takes up and lets go at the
// next AHEAD voxels, loaded before any of them is written. Lines are few, and a GPU is kept busy by as many loads at a time.
var<private> entering: array<vec3f, AHEAD>;
var<private> leaving: array<vec3f, AHEAD>;

fn look_ahead(first: u32, step: u32, i: u32, n: u32, r: u32) {
  for (var k = 0u; k < AHEAD; k++) {
    let voxel = min(i + k, n - 1u);
    entering[k] = vec3f();
    if (voxel + r < n) { entering[k] = three(first + (voxel + 2u * r) * step); }
    leaving[k] = three(first + voxel * step); // of voxels from r on
  }
}
