// Central differences, one-sided at the border, 0 along an axis of one voxel (numpy.gradient): the derivative at i is
// (x[i + up] − x[i − down]) · scale.
struct Difference { up: u32, down: u32, scale: f32 }

fn difference_at(i: u32, n: u32) -> Difference {
  let up = select(0u, 1u, i + 1u < n);
  let down = select(0u, 1u, i > 0u);
  return Difference(up, down, select(0.0, 1.0 / f32(max(up + down, 1u)), up + down > 0u));
}

// The factor with which the derivative at i reads voxel j = i + offset (offset −1, 0 or 1).
fn difference_factor(i: u32, offset: i32, n: u32) -> f32 {
  let d = difference_at(i, n);
  var factor = 0.0;
  if (i32(d.up) == offset) { factor += d.scale; }
  if (-i32(d.down) == offset) { factor -= d.scale; }
  return factor;
}
