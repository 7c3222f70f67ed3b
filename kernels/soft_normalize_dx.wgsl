// Gradient of soft_normalize.wgsl: with e = r·x, ē = limit · (r·ȳ − e·⟨e, r·ȳ⟩/q) / sqrt(q), q = |e|² + ε²; x̄ = r·ē. Layout as in
// soft_normalize.wgsl.
// @use index
// @use items$LANES
struct Params { spatial: u32, limit: f32, epsilon: f32, ratio_w: f32, ratio_h: f32, ratio_d: f32 }
@group(0) @binding(0) var<storage, read> x: array<item>;
@group(0) @binding(1) var<storage, read> dy: array<item>;
@group(0) @binding(2) var<storage, read_write> dx: array<item>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let i = id.z * 3u * params.spatial + s;
  let e_w = params.ratio_w * x[i];
  let e_h = params.ratio_h * x[i + params.spatial];
  let e_d = params.ratio_d * x[i + 2u * params.spatial];
  let g_w = params.ratio_w * dy[i];
  let g_h = params.ratio_h * dy[i + params.spatial];
  let g_d = params.ratio_d * dy[i + 2u * params.spatial];
  let q = e_w * e_w + e_h * e_h + e_d * e_d + params.epsilon * params.epsilon;
  let along = (e_w * g_w + e_h * g_h + e_d * g_d) / q;
  let factor = params.limit * inverseSqrt(q);
  dx[i] = factor * params.ratio_w * (g_w - e_w * along);
  dx[i + params.spatial] = factor * params.ratio_h * (g_h - e_h * along);
  dx[i + 2u * params.spatial] = factor * params.ratio_d * (g_d - e_d * along);
}
