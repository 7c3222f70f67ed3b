// partials[i, g] = count, mean and Σ(x − mean)² of workgroup g's share of instance i = (n, c), taken of x less the instance's first
// value: what is left near 0 keeps its digits. Layout x [I, S], partials [I, groups, 3]. Workgroup (g, i).
// @use moments
struct Params { spatial: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32,
        @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let start = group.y * params.spatial;
  var moments = Moments(0.0, 0.0, 0.0);
  for (var s = id.x; s < params.spatial; s += groups.x * WG) {
    moments = unite(moments, Moments(1.0, x[start + s] - x[start], 0.0));
  }
  moments = workgroup_moments(moments, local);
  if (local == 0u) {
    let at = 3u * (group.y * groups.x + group.x);
    partials[at] = moments.count;
    partials[at + 1u] = moments.mean;
    partials[at + 2u] = moments.squares;
  }
}
