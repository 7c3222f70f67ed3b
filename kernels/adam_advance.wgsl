// t = (c1, c2, 1/c1, 1/c2), c = 1 − β^steps: Adam's bias corrections, moved on by one step (from 0): c ← c + (1 − β)·(1 − c), which is
// exact at the first step, where 1 − pow(β, steps) is not. CLIPPED: no step where clip[0] is 0. One invocation.
// @const CLIPPED: bool  no step where clip[0] is 0
struct Params { beta1: f32, beta2: f32 }
@group(0) @binding(0) var<storage, read> clip: array<f32>;
@group(0) @binding(1) var<storage, read_write> t: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  if (CLIPPED) {
    if (clip[0] == 0.0) { return; }
  }
  t[0] += (1.0 - params.beta1) * (1.0 - t[0]);
  t[1] += (1.0 - params.beta2) * (1.0 - t[1]);
  t[2] = 1.0 / t[0];
  t[3] = 1.0 / t[1];
}
