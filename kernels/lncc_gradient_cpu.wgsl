// Gradient of the mean LNCC, or of its force, for b: lib/lncc_gather.wgsl, from sums t of terms over W and H (lib/fields_cpu.wgsl, shifted along H);
// this kernel adds the D axis. For a CPU. Runs as in window_sum.wgsl.
// @use fields
// @use lncc_gather
// @const RUN: u32  outputs of an invocation
struct Params { lines: u32, w: u32, h: u32, d: u32, runs: u32, radius_w: u32, radius_h: u32, radius_d: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> t: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> db: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines || id.y >= params.runs) { return; }
  let plane = params.w * params.h;
  let n = id.x / plane;
  let column = id.x % plane;
  let r = params.radius_d;
  let step = plane_step();
  let first = column_of(n, column) + params.radius_h * (params.w + params.radius_w);
  let start = id.y * RUN;
  var sum = vec3f();
  for (var i = max(start, r) - r; i < min(start + r, params.d); i++) { sum += three(first + i * step); }
  for (var i = start; i < min(start + RUN, params.d); i++) {
    if (i + r < params.d) { sum += three(first + (i + r) * step); }
    let p = (n * params.d + i) * plane + column;
    gather(p, sum, a[p], b[p], gathered(p));
    if (i >= r) { sum -= three(first + (i - r) * step); }
  }
}
