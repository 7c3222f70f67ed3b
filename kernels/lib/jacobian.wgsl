// The Jacobian matrix I + ∇u of the map p + u(p), by central differences (one-sided at the border), as rows (w, h, d).
// Reads the kernel's own binding `u`, from `o` on, [3, D, H, W].
// @use difference
fn jacobian_at(o: u32, p: vec3u, size: vec3u) -> array<vec3f, 3> {
  let voxels = size.x * size.y * size.z;
  let i = o + (p.z * size.y + p.y) * size.x + p.x;
  let step = vec3u(1u, size.x, size.x * size.y);
  var rows: array<vec3f, 3>;
  for (var axis = 0u; axis < 3u; axis++) {
    let d = difference_at(p[axis], size[axis]);
    for (var c = 0u; c < 3u; c++) {
      let j = i + c * voxels;
      rows[c][axis] = (u[j + d.up * step[axis]] - u[j - d.down * step[axis]]) * d.scale + select(0.0, 1.0, c == axis);
    }
  }
  return rows;
}
