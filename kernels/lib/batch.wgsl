// Which item of a batch plane z belongs to, d planes each.
fn batch_of(z: u32, d: u32) -> u32 { return quotient(z, d); }

// a / b in floating point, exact for every a below 2^22; the whole number is read from its bits, as in trilinear.wgsl. An integer division by a
// value that is no constant costs more than eight loads.
fn quotient(a: u32, b: u32) -> u32 { return bitcast<u32>(floor((f32(a) + 0.5) / f32(b)) + 8388608.0) & 0x7fffffu; }
