// Weights of a convolution from its uniform buffer w: what a CPU reads fastest. `stage` returns where those of line t begin.
fn stage(t: u32, local: u32) -> u32 { return t * K * VECTORS; }
fn weight(i: u32) -> vec4f { return w[i]; }
