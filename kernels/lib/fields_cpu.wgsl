// For a CPU: three fields beside each other in every voxel, [N, D + R_D, H + R_H, W + R_W, 3], and shifted along every axis in turn.
fn element(voxel: u32, field: u32) -> u32 { return 3u * voxel + field; }
fn shift(radius: u32) -> u32 { return radius; } // along W and H
