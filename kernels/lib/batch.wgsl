// Which item of a batch plane z belongs to, d planes each.
fn batch_of(z: u32, d: u32) -> u32 { return quotient(z, d); }

// a / b for every a below 2^23: divided in floating point, the whole number read from its bits, as in trilinear.wgsl. WGSL lets a division be
// off by 2.5 units in the last place, and so the whole number by one, which the remainder shows. An integer division by a value that is no
// constant costs more than eight loads.
fn quotient(a: u32, b: u32) -> u32 {
  let q = bitcast<u32>(floor((f32(a) + 0.5) / f32(b)) + 8388608.0) & 0x7fffffu;
  let rest = i32(a - q * b);
  return q + u32(rest >= i32(b)) - u32(rest < 0);
}
