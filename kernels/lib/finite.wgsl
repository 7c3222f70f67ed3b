// Is x neither NaN nor infinite? By the bits: fast-math may assume that neither occurs.
fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
