// Writes what lib/fields.wgsl reads.
// @use fields_$PROCESSOR
fn set_three(at: u32, v: vec3f) {
  t[element(at, 0u)] = v.x;
  t[element(at, 1u)] = v.y;
  t[element(at, 2u)] = v.z;
}
