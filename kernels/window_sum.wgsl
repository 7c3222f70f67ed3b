// y[i] = Σ_{|k| ≤ R} x[i+k] along one axis, 0 outside. O(1) in the window: a running sum, begun anew every RUN voxels
// so that rounding does not pile up. Layout [outer, n, inner]. One invocation: RUN outputs in a row. Self-adjoint.
// @const RUN: u32  outputs of an invocation
struct Params { lines: u32, n: u32, inner: u32, runs: u32, radius: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.lines || id.y >= params.runs) { return; }
  let r = params.radius;
  let first = id.x / params.inner * params.n * params.inner + id.x % params.inner;
  let start = id.y * RUN;
  var sum = 0.0;
  for (var i = max(start, r) - r; i < min(start + r, params.n); i++) { sum += x[first + i * params.inner]; }
  for (var i = start; i < min(start + RUN, params.n); i++) {
    if (i + r < params.n) { sum += x[first + (i + r) * params.inner]; }
    y[first + i * params.inner] = sum;
    if (i >= r) { sum -= x[first + (i - r) * params.inner]; }
  }
}
