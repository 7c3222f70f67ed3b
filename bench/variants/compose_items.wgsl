// LOSES. compose.wgsl with four voxels in a row an invocation, as warp.wgsl has them: 28 ms against 20 at 80 x 96 x 112 on lavapipe, one thread.
// Four cells, used for three channels each, do not fit into registers; warp has one channel, where the same change wins (6.5 ms against 8.9).
// With the channels inside the loop over the voxels it is 31 ms; warp_with_gradient.wgsl in this form 35 against 22.
// @use items$LANES
// @use trilinear
// @use batch
struct Params { w: u32, h: u32, d: u32 }
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> v: array<item>;
@group(0) @binding(2) var<storage, read_write> y: array<item>;
@group(0) @binding(3) var<uniform> params: Params;

fn sample(o: u32, c: Cell) -> f32 {
  let i = o + c.base;
  let j = i + c.step.z;
  let near = mix(mix(u[i], u[i + c.step.x], c.at.x), mix(u[i + c.step.y], u[i + c.step.y + c.step.x], c.at.x), c.at.y);
  let far = mix(mix(u[j], u[j + c.step.x], c.at.x), mix(u[j + c.step.y], u[j + c.step.y + c.step.x], c.at.x), c.at.y);
  return mix(near, far, c.at.z);
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = params.w / LANES;
  if (id.x >= row * params.h) { return; }
  let n = batch_of(id.z, params.d);
  let d = id.z - n * params.d;
  let h = quotient(id.x, row);
  let w = (id.x - h * row) * LANES;
  let items = row * params.h * params.d;
  let p = n * 3u * items + d * params.h * row + id.x;
  var step: array<item, 3>;
  for (var c = 0u; c < 3u; c++) { step[c] = v[p + c * items]; }
  var cells: array<Cell, LANES>;
  for (var k = 0u; k < LANES; k++) {
    let x = vec3f(f32(w + k), f32(h), f32(d)) + vec3f(lane(step[0], k), lane(step[1], k), lane(step[2], k));
    cells[k] = locate(x, vec3u(params.w, params.h, params.d));
  }
  for (var c = 0u; c < 3u; c++) {
    var values: array<f32, LANES>;
    for (var k = 0u; k < LANES; k++) { values[k] = sample((n * 3u + c) * items * LANES, cells[k]); }
    y[p + c * items] = step[c] + joined(values);
  }
}
