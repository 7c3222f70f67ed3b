// How many voxels of the window around coordinate i lie inside an axis of n.
fn inside(i: u32, n: u32, radius: u32) -> f32 {
  return f32(min(i + radius, n - 1u) - (max(i, radius) - radius) + 1u);
}

// Voxels of the window (radii along w, h, d) around voxel p of a [D, H, W] volume that lie inside it.
fn window_count(p: u32, size: vec3u, radius: vec3u) -> f32 {
  let w = p % size.x;
  let h = p / size.x % size.y;
  let d = p / (size.x * size.y);
  return inside(w, size.x, radius.x) * inside(h, size.y, radius.y) * inside(d, size.z, radius.z);
}
