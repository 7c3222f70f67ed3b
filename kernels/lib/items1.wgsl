// Arrays handled one value at a time.
alias item = f32;
fn inner(a: item, b: item) -> f32 { return a * b; }
fn lane(a: item, k: u32) -> f32 { return a; }
fn joined(a: array<f32, LANES>) -> item { return a[0]; }
