// Three fields beside each other in every voxel: the kernel's binding t [N, D + R_D, H + R_H, W + R_W, 3], R the radii of the window in params.
// Sums over the window are made in place, axis by axis. Along an axis that is not summed yet, value i is stored late, at i + R; the sum around
// i then goes to i, which no later sum along this axis reads. Along an axis that has been summed, the value of i is stored at i.
fn three(at: u32) -> vec3f { return vec3f(t[3u * at], t[3u * at + 1u], t[3u * at + 2u]); }

// From a plane to the next, and the place of column (w, h) of a plane.
fn plane_step() -> u32 { return (params.w + params.radius_w) * (params.h + params.radius_h); }
fn place_of(column: u32) -> u32 { return column / params.w * (params.w + params.radius_w) + column % params.w; }
