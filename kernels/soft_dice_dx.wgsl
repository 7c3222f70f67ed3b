// dx[i,s] = dy · (α[i]·other[i,s] + β[i]·x[i,s]): the gradient of soft_dice.wgsl for either operand, rows i = (n, c).
// Layout x, other, dx [I, S], slopes [I, 2] of (α, β). One invocation: one value; z runs over I.
// @use index
struct Params { spatial: u32 }
@group(0) @binding(0) var<storage, read> slopes: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> other: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = flat_index(id, groups);
  if (s >= params.spatial) { return; }
  let i = id.z * params.spatial + s;
  dx[i] = dy[0] * (slopes[2u * id.z] * other[i] + slopes[2u * id.z + 1u] * x[i]);
}
