// Three fields in every voxel: the kernel's binding t [N, D + R_D, …], R the radii of the window in params; the rest of the layout is that of
// lib/fields1.wgsl or lib/fields3.wgsl. Sums over the window are made in place, axis by axis. Along an axis that is not summed yet, value i is
// stored late, at i + R; the sum around i then goes to i, which no later sum along this axis reads. Along an axis that has been summed, the
// value of i is stored at i.
fn three(at: u32) -> vec3f { return vec3f(t[element(at, 0u)], t[element(at, 1u)], t[element(at, 2u)]); }

// From a plane to the next, and the place of column (w, h) in a plane; that of a column in plane 0 of item n.
fn plane_step() -> u32 { return (params.w + late(params.radius_w)) * (params.h + late(params.radius_h)); }
fn place_of(column: u32) -> u32 { return column / params.w * (params.w + late(params.radius_w)) + column % params.w; }
fn column_of(n: u32, column: u32) -> u32 { return n * (params.d + params.radius_d) * plane_step() + place_of(column); }
