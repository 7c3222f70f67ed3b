// Arrays handled four values at a time.
alias item = vec4f;
fn inner(a: item, b: item) -> f32 { return dot(a, b); }
