// gaussian.wgsl along W, for a GPU: neighbours read side by side, four voxels at a time. Rows of `items` vectors, n voxels; `across` rows a plane.
// One invocation: four outputs, from ITEMS vectors around them; the first tap of the first output is value FIRST_TAP of these.
// @use gaussian_norm
// @const ITEMS: u32       vectors that an invocation reads
// @const TAPS: u32        2·RADIUS + 1
// @const FIRST_TAP: u32   where the first tap lies in these vectors
// @const TRANSPOSE: bool  the adjoint
struct Params { weights: array<vec4f, RADIUS / 4 + 1>, n: u32, items: u32, across: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

fn norms(item: u32) -> vec4f {
  let i = i32(4u * item);
  return vec4f(norm(i), norm(i + 1), norm(i + 2), norm(i + 3));
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.items || id.y >= params.across) { return; }
  let first = (id.z * params.across + id.y) * params.items;
  var window: array<f32, 4u * ITEMS>;
  for (var k = 0u; k < ITEMS; k++) { // @unroll
    let item = id.x + k - ITEMS / 2u; // to the left of 0 it goes round
    let inside = min(item, params.items - 1u);
    var four = select(vec4f(), x[first + inside], item == inside);
    if (TRANSPOSE) { four /= norms(inside); }
    for (var c = 0u; c < 4u; c++) { // @unroll
      window[4u * k + c] = four[c];
    }
  }
  var sums = vec4f();
  for (var c = 0u; c < 4u; c++) { // @unroll
    for (var j = 0u; j < TAPS; j++) { // @unroll
      sums[c] += weight(abs(i32(j) - RADIUS)) * window[FIRST_TAP + c + j];
    }
  }
  if (!TRANSPOSE) { sums /= norms(id.x); }
  y[first + id.x] = sums;
}
