// Anderson acceleration, 1 of 3: puts f(z) − (1 − β)·g and the residual g = f(z) − z into the rings, and sums, per workgroup, the new row of
// the Gram matrix ⟨g, G_j⟩ over the ring's slots j (slot of g itself included) and ‖f‖². Rings hold WINDOW vectors of `count` items, those of
// z from `first` on; sums go to `partials` from `row` on. Walker & Ni, SIAM J. Numer. Anal. 2011. A workgroup takes its share in one piece.
// @use items$LANES
// @use workgroup_sums
// @use anderson
struct Params { count: u32, first: u32, row: u32, one_minus_beta: f32 } // one_minus_beta: of the mixing
@group(0) @binding(0) var<storage, read> f: array<item>;
@group(0) @binding(1) var<storage, read> z: array<item>;
@group(0) @binding(2) var<storage, read> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> values: array<item>;
@group(0) @binding(4) var<storage, read_write> residuals: array<item>;
@group(0) @binding(5) var<storage, read_write> partials: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

const SUMS = WINDOW + 1u;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let slot = next_slot(state[STEP]);
  let filled = u32(state[COUNT]);
  var sums: array<f32, SUMS>;
  let share = (params.count + groups.x - 1u) / groups.x; // of a workgroup, in one piece
  for (var i = group.x * share + local; i < min((group.x + 1u) * share, params.count); i += WG) {
    let value = f[params.first + i];
    let g = value - z[params.first + i];
    values[slot * params.count + i] = value - params.one_minus_beta * g;
    residuals[slot * params.count + i] = g;
    for (var j = 0u; j < WINDOW; j++) {
      if (j == slot) { sums[j] += inner(g, g); }
      else if (j < filled) { sums[j] += inner(g, residuals[j * params.count + i]); }
    }
    sums[WINDOW] += inner(value, value);
  }
  let total = workgroup_sums(sums, local);
  if (local < SUMS) { partials[(params.row + group.x) * SUMS + local] = total; }
}
