// y[n,c,s] = limit · r_c²·x[n,c,s] / sqrt(Σ_c (r_c·x[n,c,s])² + ε²): a step by x, shorter than `limit`, smooth in x. The ratios r
// (finest spacing / spacing along w, h, d, at most 1) make it the same step in millimetres on every grid.
// Layout [N, 3, S], S in `spatial` items of LANES values. One invocation: one item of all channels; z runs over N.
// @use index
// @use items$LANES
struct Params { spatial: u32, limit: f32, epsilon: f32, ratio_w: f32, ratio_h: f32, ratio_d: f32 }
@group(0) @binding(0) var<storage, read> x: array<item>;
@group(0) @binding(1) var<storage, read_write> y: array<item>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let i = id.z * 3u * params.spatial + s;
  let e_w = params.ratio_w * x[i];
  let e_h = params.ratio_h * x[i + params.spatial];
  let e_d = params.ratio_d * x[i + 2u * params.spatial];
  let factor = params.limit * inverseSqrt(e_w * e_w + e_h * e_h + e_d * e_d + params.epsilon * params.epsilon);
  y[i] = factor * params.ratio_w * e_w;
  y[i + params.spatial] = factor * params.ratio_h * e_h;
  y[i + 2u * params.spatial] = factor * params.ratio_d * e_d;
}
