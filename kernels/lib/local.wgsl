// How many voxels of the window around coordinate i lie inside an axis of n.
fn inside(i: u32, n: u32, radius: u32) -> f32 {
  return f32(min(i + radius, n - 1u) - (max(i, radius) - radius) + 1u);
}

// Voxels of a window that lie inside a volume are a product: this one of its column (w, h), radii along w and h, which stays the same along
// d, times inside(d, …). A division for every voxel would cost more than the sums.
fn column_count(column: u32, w: u32, h: u32, radius_w: u32, radius_h: u32) -> f32 {
  return inside(column % w, w, radius_w) * inside(column / w, h, radius_h);
}

// sum / count with the quotient's own remainder put right: GPUs divide with an error of some units in the last place, which variances,
// differences of two means, would see enlarged.
fn mean(sum: f32, count: f32) -> f32 {
  let m = sum / count;
  return m + fma(-m, count, sum) / count;
}
