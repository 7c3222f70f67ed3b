// Trilinear sampling with the border clamped: the cell of 8 voxels around a position, and where in it the position is.
struct Cell {
  base: u32,        // index of the cell's first voxel in a [D, H, W] volume
  step: vec3u,      // index distance to the next voxel along w, h, d; 0 along an axis of one voxel
  fraction: vec3f,  // position inside the cell, 0 to 1
  unclamped: vec3f, // 1 strictly inside of the volume, else 0: the factor of the derivative
}

fn locate(x: vec3f, size: vec3u) -> Cell {
  let last = vec3f(size - 1u);
  let clamped = clamp(x, vec3f(0.0), last);
  let first = min(floor(clamped), max(last - 1.0, vec3f(0.0)));
  let corner = whole(first);
  var cell: Cell;
  cell.base = (corner.z * size.y + corner.y) * size.x + corner.x;
  cell.step = vec3u(1u, size.x, size.x * size.y) * vec3u(size > vec3u(1u));
  cell.fraction = clamped - first;
  cell.unclamped = select(vec3f(0.0), vec3f(1.0), (x > vec3f(0.0)) & (x < last));
  return cell;
}

// Whole numbers below 2^23 as u32, by their bits: WGSL's own conversion clamps first, which costs a driver on the CPU more than eight loads.
fn whole(x: vec3f) -> vec3u { return bitcast<vec3u>(x + 8388608.0) & vec3u(0x7fffffu); }
