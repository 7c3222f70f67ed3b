// y[i] = (low[i] + 2^32·high[i]) · largest / 2^30: reads the 64-bit sums that warp_dimage.wgsl leaves. One invocation: one value.
// @use index
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> low: array<u32>;
@group(0) @binding(1) var<storage, read> high: array<i32>;
@group(0) @binding(2) var<storage, read> largest: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  // The magnitude of the two's complement number, so that the words of a small negative sum do not cancel in f32.
  let negative = high[i] < 0;
  let low_word = select(low[i], ~low[i] + 1u, negative);
  let high_word = select(high[i], ~high[i] + select(0, 1, low[i] == 0u), negative);
  let total = f32(high_word) * 4294967296.0 + f32(low_word);
  y[i] = select(total, -total, negative) * largest[0] / 1073741824.0;
}
