// Partial sums over the voxels of each instance i = (n, c) of dy and of dy·x̂: what the gradients of instance normalisation need.
// Layout x, dy [I, S], both results [groups, I]. Workgroup (g, i).
// @use workgroup_sum
struct Params { spatial: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> products: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32,
        @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let start = group.y * params.spatial;
  let mean = statistics[2u * group.y];
  var sum = 0.0;
  var product = 0.0;
  for (var s = id.x; s < params.spatial; s += groups.x * WG) {
    let g = dy[start + s];
    sum += g;
    product += g * (x[start + s] - x[start] - mean);
  }
  sum = workgroup_sum(sum, local);
  workgroupBarrier();
  product = workgroup_sum(product, local) * statistics[2u * group.y + 1u];
  if (local == 0u) {
    sums[group.x * groups.y + group.y] = sum;
    products[group.x * groups.y + group.y] = product;
  }
}
