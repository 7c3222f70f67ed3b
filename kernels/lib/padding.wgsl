// Padding of a convolution: the voxel that position q − PAD of an axis of n reads, and its factor: 0 outside, 1 on the border where REPLICATE.
// @const PAD: i32         voxels of padding
// @const REPLICATE: bool  beyond the border lies the last voxel, not 0
struct Place { index: u32, factor: f32 }
fn place(q: u32, n: u32) -> Place {
  let at = clamp(i32(q) - PAD, 0, i32(n) - 1);
  return Place(u32(at), select(0.0, 1.0, REPLICATE || at == i32(q) - PAD));
}
