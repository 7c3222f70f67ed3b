// Arrays handled one value at a time.
alias item = f32;
fn inner(a: item, b: item) -> f32 { return a * b; }
