// Along an axis, t[i] ← Σ_{|k| ≤ R} of the shifted values of i + k (lib/fields.wgsl), 0 outside. BACK does the reverse: from values stored at i to
// shifted sums, at i + R. Lines of n values, `step` apart; `across` of them `apart` from each other in each of the planes, which lie from `first`
// on; a line goes through `depth` of them. One invocation: a line, or a run of one (lib/walk_cpu, lib/walk_gpu.wgsl).
// @use fields_set
// @use walk_$PROCESSOR
// @const BACK: bool  from plain to shifted
struct Params {
  lines: u32, n: u32, step: u32, radius: u32, across: u32, apart: u32, first: u32, depth: u32, w: u32, h: u32, d: u32,
  radius_w: u32, radius_h: u32, radius_d: u32,
}
@group(0) @binding(0) var<storage, read_write> t: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

var<private> line_first: u32;
var<private> line_step: u32;

struct Loaded { nothing: u32 }
fn load(i: u32) -> Loaded { return Loaded(); }
fn visit(i: u32, sum: vec3f, loaded: Loaded) { set_three(line_first + i * line_step, sum); }

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  let r = params.radius;
  let plane = id.x / params.across * params.depth;
  line_first = params.first + (plane + plane / params.d * params.radius_d) * plane_step() + id.x % params.across * params.apart;
  line_step = params.step;
  if (BACK) {
    line_first += (params.n + r - 1u) * line_step;
    line_step = 0u - line_step; // unsigned numbers go round
  }
  walk_line(line_first, line_step, select(0u, params.n, id.x < params.lines), r, id.y, local);
}
