// t[i] = Σ_{|k| ≤ R} (b, b², a·b, 0)[i+k] along W, 0 outside, of centred a and b: LNCC's moments, first axis.
// Running sums as in window_sum.wgsl; layout [lines, W]. One invocation: RUN outputs in a row.
struct Params { lines: u32, n: u32, runs: u32, radius: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> t: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

fn products(i: u32) -> vec4f {
  return vec4f(b[i], b[i] * b[i], a[i] * b[i], 0.0);
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines || id.y >= params.runs) { return; }
  let r = params.radius;
  let first = id.x * params.n;
  let start = id.y * RUN;
  var sum = vec4f();
  for (var i = max(start, r) - r; i < min(start + r, params.n); i++) { sum += products(first + i); }
  for (var i = start; i < min(start + RUN, params.n); i++) {
    if (i + r < params.n) { sum += products(first + i + r); }
    t[first + i] = sum;
    if (i >= r) { sum -= products(first + i - r); }
  }
}
