// A volume stored in the type `real`, read four values at a time.
alias reals = vec4<real>;
fn lane(v: reals, i: u32) -> f32 { return f32(v[i]); }
fn reals_of(v: array<f32, LANES>) -> reals { return reals(real(v[0]), real(v[1]), real(v[2]), real(v[3])); }
