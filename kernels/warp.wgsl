// y[n,c,p] = image[n,c] at x = M·(p + u[n,p]), trilinear (or nearest), border clamped. One invocation: LANES voxels p in a row, all channels.
// Layout [N, C, D, H, W], u and y in items of LANES along W; u holds (w, h, d) in voxels, and is 0 unless MOVES. As
// grid_sample(align_corners=True, padding_mode='border').
// @use items$LANES
// @use corners
// @use matrix
// @use batch
// @const CHANNELS: u32  of the image
// @const NEAREST: bool  in place of trilinear
// @const MOVES: bool    by u; else x = M·p
struct Params {
  matrix: array<vec4f, 3>, // M, by rows
  image_w: u32, image_h: u32, image_d: u32, w: u32, h: u32, d: u32,
}
@group(0) @binding(0) var<storage, read> image: array<f32>;
@group(0) @binding(1) var<storage, read> u: array<item>;
@group(0) @binding(2) var<storage, read_write> y: array<item>;
@group(0) @binding(3) var<uniform> params: Params;

fn find(q: vec3f) -> Cell {
  let x = mapped(q);
  return locate(select(x, floor(x + 0.5), NEAREST), vec3u(params.image_w, params.image_h, params.image_d));
}

alias texel = f32;
fn texel_at(i: u32) -> texel { return image[i]; }

fn sample(first: u32, c: Cell) -> f32 {
  if (NEAREST) { return image[first + c.base + dot(vec3u(c.fraction), c.step)]; }
  return interpolated(corners_of(first, c), c.fraction);
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = params.w / LANES;
  if (id.x >= row * params.h) { return; }
  let n = batch_of(id.z, params.d);
  let d = id.z - n * params.d;
  let h = quotient(id.x, row);
  let items = row * params.h * params.d;
  let p = d * row * params.h + id.x;
  var offset: array<item, 3>;
  if (MOVES) { for (var k = 0u; k < 3u; k++) { offset[k] = u[(n * 3u + k) * items + p]; } }
  var cells: array<Cell, LANES>;
  for (var k = 0u; k < LANES; k++) {
    let w = (id.x - h * row) * LANES + k;
    cells[k] = find(vec3f(f32(w), f32(h), f32(d)) + vec3f(lane(offset[0], k), lane(offset[1], k), lane(offset[2], k)));
  }
  let image_voxels = params.image_w * params.image_h * params.image_d;
  for (var c = 0u; c < CHANNELS; c++) {
    var values: array<f32, LANES>;
    for (var k = 0u; k < LANES; k++) { values[k] = sample((n * CHANNELS + c) * image_voxels, cells[k]); }
    y[(n * CHANNELS + c) * items + p] = joined(values);
  }
}
