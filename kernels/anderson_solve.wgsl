// Anderson acceleration, 2 of 3: ends the sums, updates one row of the Gram matrix, and finds the mixing weights a that
// minimise ‖Σ a_j G_j‖² + ridge · Σ gram_jj a_j², Σ a_j = 1 (the bordered system, by elimination: a = H⁻¹1 / 1ᵀH⁻¹1).
// H is scaled to a unit diagonal first, so that the ridge is relative (Marquardt) and f32 is enough. One workgroup.
// @use workgroup_sums
// @use anderson
// @use finite
struct Params { rows: u32, ridge: f32 }
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> gram: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

const SUMS = WINDOW + 1u;
var<workgroup> row: array<f32, SUMS>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) local: u32) {
  var sums: array<f32, SUMS>;
  for (var g = local; g < params.rows; g += WG) {
    for (var j = 0u; j < SUMS; j++) { sums[j] += partials[g * SUMS + j]; }
  }
  let total_of_row = workgroup_sums(sums, local);
  if (local < SUMS) { row[local] = total_of_row; }
  workgroupBarrier();
  if (local != 0u) { return; }

  let slot = next_slot(state[STEP]);
  for (var j = 0u; j < WINDOW; j++) { state[WEIGHTS + j] = 0.0; }
  if (!record(slot)) { return; }
  let n = min(u32(state[COUNT]) + 1u, WINDOW);
  state[COUNT] = f32(n);
  for (var j = 0u; j < n; j++) { gram[slot * WINDOW + j] = row[j]; gram[j * WINDOW + slot] = row[j]; }
  if (row[slot] == 0.0 || !mix(n)) { state[WEIGHTS + slot] = 1.0; } // a plain step
}

// Notes the newest entry in the state; false where it is not finite.
fn record(slot: u32) -> bool {
  let residual = sqrt(row[slot]);
  state[STEP] += 1.0;
  state[SLOT] = f32(slot);
  state[RESIDUAL] = residual;
  state[MAGNITUDE] = sqrt(row[WINDOW]);
  let finite = is_finite(residual) && is_finite(state[MAGNITUDE]);
  state[FINITE] = select(0.0, 1.0, finite);
  let improved = finite && (state[STEP] == 1.0 || residual < state[BEST_RESIDUAL]);
  state[IMPROVED] = select(0.0, 1.0, improved);
  if (improved) { state[BEST_RESIDUAL] = residual; }
  return finite;
}

// The mixing weights of n entries, by Gaussian elimination; false where rounding has made the system unsolvable.
fn mix(n: u32) -> bool {
  var scale: array<f32, WINDOW>;
  for (var i = 0u; i < n; i++) { scale[i] = inverseSqrt(max(gram[i * WINDOW + i], 1e-30)); }
  var h: array<array<f32, WINDOW + 1u>, WINDOW>; // H, and 1 beside it, both scaled
  for (var i = 0u; i < n; i++) {
    for (var j = 0u; j < n; j++) { h[i][j] = gram[i * WINDOW + j] * scale[i] * scale[j] + select(0.0, params.ridge, i == j); }
    h[i][n] = scale[i];
  }
  for (var k = 0u; k < n; k++) {
    if (!(h[k][k] > 1e-7)) { return false; }
    for (var i = k + 1u; i < n; i++) {
      let ratio = h[i][k] / h[k][k];
      for (var j = k; j <= n; j++) { h[i][j] -= ratio * h[k][j]; }
    }
  }
  var weights: array<f32, WINDOW>;
  var total = 0.0;
  for (var back = 0u; back < n; back++) {
    let i = n - 1u - back;
    var value = h[i][n];
    for (var j = i + 1u; j < n; j++) { value -= h[i][j] * weights[j]; }
    weights[i] = value / h[i][i];
  }
  for (var i = 0u; i < n; i++) { weights[i] *= scale[i]; total += weights[i]; }
  if (!is_finite(total) || !(abs(total) > 1e-20)) { return false; }
  for (var i = 0u; i < n; i++) { state[WEIGHTS + i] = weights[i] / total; }
  return true;
}
