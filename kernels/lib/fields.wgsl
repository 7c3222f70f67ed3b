// Three fields beside each other in every voxel: the kernel's binding t [N, D + R_D, H + R_H, W + R_W, 3], R the radii of the window in params.
// The room is there for sums in place: what lies R late along an axis, value i at i + R, gives way to the sum around i at i.
fn three(at: u32) -> vec3f { return vec3f(t[3u * at], t[3u * at + 1u], t[3u * at + 2u]); }

// From a plane to the next, and the place of column (w, h) of a plane.
fn plane_step() -> u32 { return (params.w + params.radius_w) * (params.h + params.radius_h); }
fn place_of(column: u32) -> u32 { return column / params.w * (params.w + params.radius_w) + column % params.w; }
