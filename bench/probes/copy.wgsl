// The peak of memory: y = x, in vectors of four f32. One invocation: ITEMS vectors in a row.
// @use index
// @const ITEMS: u32  vectors of an invocation
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let first = flat_index(id, groups) * ITEMS;
  if (first + ITEMS > params.count) { return; } // count is a multiple of ITEMS
  for (var k = 0u; k < ITEMS; k++) { y[first + k] = x[first + k]; }
}
