// Adam: m ← β1·m + (1 − β1)·g, v ← β2·v + (1 − β2)·g², p ← p − rate · m̂ / (sqrt(v̂) + ε). One invocation: one parameter.
// Kingma & Ba, ICLR 2015, algorithm 1; the bias corrections come from adam_advance.wgsl.
// @use index
struct Params { count: u32, rate: f32, beta1: f32, beta2: f32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> g: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read_write> p: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  m[i] = params.beta1 * m[i] + (1.0 - params.beta1) * g[i];
  v[i] = params.beta2 * v[i] + (1.0 - params.beta2) * g[i] * g[i];
  p[i] -= params.rate * m[i] * t[2] / (sqrt(v[i] * t[3]) + params.epsilon);
}
