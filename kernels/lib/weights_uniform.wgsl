// Weights of a convolution from its uniform buffer w: what a CPU reads fastest. `stage` returns where row t is.
fn stage(t: u32, local: u32) -> u32 { return t; }
fn weight(row: u32, i: u32) -> vec4f { return w[row][i]; }
