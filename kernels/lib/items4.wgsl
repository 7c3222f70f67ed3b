// Arrays handled four values at a time.
alias item = vec4f;
fn inner(a: item, b: item) -> f32 { return dot(a, b); }
fn lane(a: item, k: u32) -> f32 { return a[k]; }
fn joined(a: array<f32, LANES>) -> item { return vec4f(a[0], a[1], a[2], a[3]); }
