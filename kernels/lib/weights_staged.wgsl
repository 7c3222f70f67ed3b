// Weights of a convolution by way of workgroup memory, STAGE rows of taps at a time: a GPU's first cache of constants holds far fewer (2 KB on
// NVIDIA's), and its workgroups do not all read the same ones at once.
// @const STAGE: u32  rows in workgroup memory at once
var<workgroup> staged: array<TapRow, STAGE>;

// Returns where row t is; at the first of STAGE rows, copies them all there.
fn stage(t: u32, local: u32) -> u32 {
  if (t % STAGE == 0u) {
    workgroupBarrier(); // the rows before are not needed any more
    for (var i = local; i < min(STAGE, TAP_ROWS - t) * K * VECTORS; i += WG) {
      staged[i / (K * VECTORS)][i % (K * VECTORS)] = w_all[t + i / (K * VECTORS)][i % (K * VECTORS)];
    }
    workgroupBarrier();
  }
  return t % STAGE;
}

fn weight(row: u32, i: u32) -> vec4f { return staged[row][i]; }
