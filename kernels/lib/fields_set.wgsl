// Writes what lib/fields.wgsl reads.
fn set_three(at: u32, v: vec3f) {
  t[3u * at] = v.x;
  t[3u * at + 1u] = v.y;
  t[3u * at + 2u] = v.z;
}
