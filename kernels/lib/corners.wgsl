// The eight voxels of a cell, numbered by (d, h, w), and what is between them: the interpolated value and its derivatives along (w, h, d). The
// kernel says what a voxel holds, `alias texel = f32;` or vec4f, and where it is read, `fn texel_at(i: u32) -> texel`.
// @use trilinear
struct Corners { v000: texel, v001: texel, v010: texel, v011: texel, v100: texel, v101: texel, v110: texel, v111: texel }
struct Slopes { w: texel, h: texel, d: texel }

// `first`: where in the buffer the volume begins.
fn corners_of(first: u32, c: Cell) -> Corners {
  let i = first + c.base;
  let j = i + c.step.z;
  return Corners(
    texel_at(i), texel_at(i + c.step.x), texel_at(i + c.step.y), texel_at(i + c.step.y + c.step.x),
    texel_at(j), texel_at(j + c.step.x), texel_at(j + c.step.y), texel_at(j + c.step.y + c.step.x));
}

fn interpolated(v: Corners, at: vec3f) -> texel {
  return mix(
    mix(mix(v.v000, v.v001, at.x), mix(v.v010, v.v011, at.x), at.y),
    mix(mix(v.v100, v.v101, at.x), mix(v.v110, v.v111, at.x), at.y), at.z);
}

fn slopes(v: Corners, at: vec3f) -> Slopes {
  let near_low = mix(v.v000, v.v001, at.x);
  let near_high = mix(v.v010, v.v011, at.x);
  let far_low = mix(v.v100, v.v101, at.x);
  let far_high = mix(v.v110, v.v111, at.x);
  return Slopes(
    mix(mix(v.v001 - v.v000, v.v011 - v.v010, at.y), mix(v.v101 - v.v100, v.v111 - v.v110, at.y), at.z),
    mix(near_high - near_low, far_high - far_low, at.z),
    mix(far_low, far_high, at.y) - mix(near_low, near_high, at.y));
}
