// AdamW: m ← β1·m + (1 − β1)·g, v ← β2·v + (1 − β2)·g², p ← (1 − rate·decay)·p − rate · m̂ / (sqrt(v̂) + ε). One invocation: an item of
// LANES parameters, `count` of them.
// Kingma & Ba, ICLR 2015, algorithm 1; Loshchilov & Hutter, ICLR 2019; the bias corrections come from adam_advance.wgsl.
// SCHEDULED: the rate is rates[0]. CLIPPED: g is the gradient times clip[0], and no step is taken where that is 0.
// @use index
// @use items$LANES
// @const SCHEDULED: bool  the rate is rates[0]
// @const CLIPPED: bool    g is multiplied by clip[0]
struct Params { count: u32, rate: f32, beta1: f32, beta2: f32, epsilon: f32, decay: f32 }
@group(0) @binding(0) var<storage, read> g: array<item>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read> rates: array<f32>;
@group(0) @binding(3) var<storage, read> clip: array<f32>;
@group(0) @binding(4) var<storage, read_write> p: array<item>;
@group(0) @binding(5) var<storage, read_write> m: array<item>;
@group(0) @binding(6) var<storage, read_write> v: array<item>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  var gradient = g[i];
  if (CLIPPED) {
    if (clip[0] == 0.0) { return; }
    gradient *= clip[0];
  }
  var rate = params.rate;
  if (SCHEDULED) { rate = rates[0]; }
  m[i] = params.beta1 * m[i] + (1.0 - params.beta1) * gradient;
  v[i] = params.beta2 * v[i] + (1.0 - params.beta2) * gradient * gradient;
  p[i] -= rate * (params.decay * p[i] + m[i] * t[2] / (sqrt(v[i] * t[3]) + params.epsilon));
}
