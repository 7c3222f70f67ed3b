// The peak of arithmetic: s_k ← s_k·a + b, 16 · `steps` times, for ACCUMULATORS independent chains of 1 or 4 f32 (LANES) in every invocation;
// y[i] = Σ_k s_k, so that nothing is left out. One invocation: one y. 2 FLOP a fused multiply-add.
// @use index
// @use items$LANES
// @const ACCUMULATORS: u32  chains of an invocation
struct Params { count: u32, steps: u32, a: f32, b: f32 }
@group(0) @binding(0) var<storage, read_write> y: array<item>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  let a = item(params.a);
  let b = item(params.b);
  var sums: array<item, ACCUMULATORS>;
  for (var k = 0u; k < ACCUMULATORS; k++) { sums[k] = item(f32(i + k)); }
  for (var step = 0u; step < params.steps; step++) {
    for (var repeat = 0u; repeat < 16u; repeat++) { // unrolled: few branches among the multiplications
      for (var k = 0u; k < ACCUMULATORS; k++) { sums[k] = fma(sums[k], a, b); }
    }
  }
  var total = item();
  for (var k = 0u; k < ACCUMULATORS; k++) { total += sums[k]; }
  y[i] = total;
}
