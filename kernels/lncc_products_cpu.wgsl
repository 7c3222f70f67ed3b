// t = Σ_{|k| ≤ R} (b, b², a·b)[i+k] along W, 0 outside, of centred a and b: LNCC's moments, first axis, for a CPU. Layout a, b [N, D, H, W], t
// as in lib/fields_cpu.wgsl, shifted along all axes. Running sums as in window_sum.wgsl. One invocation: RUN outputs in a row.
// @use fields_set
// @const RUN: u32  outputs of an invocation
struct Params { lines: u32, w: u32, h: u32, d: u32, runs: u32, radius_w: u32, radius_h: u32, radius_d: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> t: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn products(i: u32) -> vec3f { return vec3f(b[i], b[i] * b[i], a[i] * b[i]); }

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines || id.y >= params.runs) { return; }
  let r = params.radius_w;
  let first = id.x * params.w;
  let plane = id.x / params.h;
  let row = (plane + (plane / params.d + 1u) * params.radius_d) * (params.h + params.radius_h) + id.x % params.h + params.radius_h;
  let place = row * (params.w + params.radius_w) + params.radius_w;
  let start = id.y * RUN;
  var sum = vec3f();
  for (var i = max(start, r) - r; i < min(start + r, params.w); i++) { sum += products(first + i); }
  for (var i = start; i < min(start + RUN, params.w); i++) {
    if (i + r < params.w) { sum += products(first + i + r); }
    set_three(place + i, sum);
    if (i >= r) { sum -= products(first + i - r); }
  }
}
