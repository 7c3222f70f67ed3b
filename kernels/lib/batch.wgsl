// Which item of a batch plane z belongs to, d planes each: z / d in floating point, exact for every z that a dispatch can have (below 65536).
// An integer division by a value that is no constant costs more than eight loads.
fn batch_of(z: u32, d: u32) -> u32 { return u32((f32(z) + 0.5) / f32(d)); }
