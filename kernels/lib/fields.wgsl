// Three fields in every voxel: the kernel's binding t [N, D + R_D, …], R the radii of the window in params; the rest of the layout is that of
// lib/fields_cpu.wgsl or lib/fields_gpu.wgsl. Sums over the window are made in place, axis by axis. Along a line of n voxels:
//   before   [ R free | v0 v1 v2 … ]    shifted: value i lies at i + R
//   after    [ s0 s1 s2 … | R spent ]   the sum around i lies at i, where no later sum along this axis reads
// @use fields_$PROCESSOR
fn three(at: u32) -> vec3f { return vec3f(t[element(at, 0u)], t[element(at, 1u)], t[element(at, 2u)]); }

// From a plane to the next, and the place of column (w, h) in a plane; that of a column in plane 0 of item n.
fn plane_step() -> u32 { return (params.w + shift(params.radius_w)) * (params.h + shift(params.radius_h)); }
fn place_of(column: u32) -> u32 { return column / params.w * (params.w + shift(params.radius_w)) + column % params.w; }
fn column_of(n: u32, column: u32) -> u32 { return n * (params.d + params.radius_d) * plane_step() + place_of(column); }
