// Anderson acceleration, 3 of 3: z = Σ_j a_j · values_j, one pass over the ring of f(z) − (1 − β)·g; and where the newest residual g is the
// smallest so far, best = the newest value + shift·g: f(z) by a shift of 1 − β, z itself by −β. Nothing moves after a non-finite residual. The
// rings' items are those of z from `first` on. One invocation: one item.
// @use items$LANES
// @use index
// @use anderson
// @const SHIFTED: bool  `shift` is not 0
struct Params { count: u32, first: u32, shift: f32 }
@group(0) @binding(0) var<storage, read> values: array<item>;
@group(0) @binding(1) var<storage, read> residuals: array<item>;
@group(0) @binding(2) var<storage, read> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> z: array<item>;
@group(0) @binding(4) var<storage, read_write> best: array<item>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count || state[FINITE] == 0.0) { return; }
  var sum = item();
  for (var j = 0u; j < u32(state[COUNT]); j++) {
    sum += state[WEIGHTS + j] * values[j * params.count + i];
  }
  z[params.first + i] = sum;
  if (state[IMPROVED] == 1.0) {
    let newest = u32(state[SLOT]) * params.count + i;
    var kept = values[newest];
    if (SHIFTED) { kept += params.shift * residuals[newest]; }
    best[params.first + i] = kept;
  }
}
