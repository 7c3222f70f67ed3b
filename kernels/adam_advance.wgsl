// t = (steps, 1/(1 − β1^steps), 1/(1 − β2^steps), 0): Adam's step counter and bias corrections, moved on by one step. One invocation.
struct Params { beta1: f32, beta2: f32 }
@group(0) @binding(0) var<storage, read_write> t: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  let steps = t[0] + 1.0;
  t[0] = steps;
  t[1] = 1.0 / (1.0 - pow(params.beta1, steps));
  t[2] = 1.0 / (1.0 - pow(params.beta2, steps));
}
