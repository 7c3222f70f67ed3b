// A volume stored in the type `real`, read four values at a time.
alias reals = vec4<real>;
fn lane(v: reals, i: u32) -> f32 { return f32(v[i]); }
