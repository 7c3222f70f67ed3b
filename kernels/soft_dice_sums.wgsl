// Partial sums over the voxels of each row i = (n, c) of a·b, a² and b². Layout a, b [I, S], partials [P, I, 3], P = groups along x times
// WG. One invocation: every P-th voxel of a row, without a barrier; y runs over I.
struct Params { spatial: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let start = id.y * params.spatial;
  var sums = vec3f();
  for (var s = id.x; s < params.spatial; s += groups.x * WG) {
    let p = a[start + s];
    let q = b[start + s];
    sums += vec3f(p * q, p * p, q * q);
  }
  let at = 3u * (id.x * groups.y + id.y);
  partials[at] = sums.x;
  partials[at + 1u] = sums.y;
  partials[at + 2u] = sums.z;
}
