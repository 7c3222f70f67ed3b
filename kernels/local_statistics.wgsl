// y[n] = (mean, variance) of the voxels inside a window, from sums t = (Σa, Σa², ·) over W and H; this kernel adds the D axis.
// Layout t as in lib/fields.wgsl, y [N, 2, D, H, W]. One invocation: RUN outputs along D.
// @use local
// @use fields$BESIDE
// @use fields
struct Params { lines: u32, w: u32, h: u32, d: u32, runs: u32, radius_w: u32, radius_h: u32, radius_d: u32 }
@group(0) @binding(0) var<storage, read> t: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines || id.y >= params.runs) { return; }
  let plane = params.w * params.h;
  let voxels = plane * params.d;
  let n = id.x / plane;
  let column = id.x % plane;
  let r = params.radius_d;
  let in_column = column_count(column, params.w, params.h, params.radius_w, params.radius_h);
  let step = plane_step();
  let first = column_of(n, column) + late(params.radius_w); // W and D are stored late
  let start = id.y * RUN;
  var sum = vec3f();
  for (var i = max(start, r) - r; i < min(start + r, params.d); i++) { sum += three(first + (i + r) * step); }
  for (var i = start; i < min(start + RUN, params.d); i++) {
    if (i + r < params.d) { sum += three(first + (i + 2u * r) * step); }
    let p = i * plane + column;
    let count = in_column * inside(i, params.d, r);
    let mean_a = mean(sum.x, count);
    y[2u * n * voxels + p] = mean_a;
    y[(2u * n + 1u) * voxels + p] = max(0.0, mean(sum.y, count) - mean_a * mean_a);
    if (i >= r) { sum -= three(first + i * step); }
  }
}
