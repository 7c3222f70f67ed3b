// y[i] = (low[i] + 2^16·high[i]) · largest / 2^30: reads the whole-number sums that warp_dimage.wgsl leaves.
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
  // The carry of the low counter moves up first, so that the final sum loses nothing to rounding.
  let carry = i32(low[i] >> 16u);
  let total = f32(high[i] + carry) * 65536.0 + f32(low[i] & 0xffffu);
  y[i] = total * largest[0] / 1073741824.0;
}
