// For a GPU: three fields one behind the other, [3, N, D + R_D, H, W], so that invocations side by side read what lies side by side. Sums along
// W and H are not made in place (lib/plane_sums.wgsl), so that values are shifted along D alone. `lines` are the N·H·W lines along D.
fn element(voxel: u32, field: u32) -> u32 { return field * params.lines * (params.d + params.radius_d) + voxel; }
fn shift(radius: u32) -> u32 { return 0u; } // along W and H
