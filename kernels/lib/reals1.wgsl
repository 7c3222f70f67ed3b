// A volume stored in the type `real`, read one value at a time.
alias reals = real;
fn lane(v: reals, i: u32) -> f32 { return f32(v); }
fn reals_of(v: array<f32, LANES>) -> reals { return reals(v[0]); }
