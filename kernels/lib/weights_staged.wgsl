// Weights of a convolution by way of workgroup memory, STAGE lines of taps at a time: a GPU's first cache of constants holds far fewer (2 KB on
// NVIDIA's), and its workgroups do not all read the same ones at once.
// @const STAGE: u32  lines in workgroup memory at once
var<workgroup> staged: array<Line, STAGE>;

// Returns where line t is; at the first of STAGE lines, copies them all there.
fn stage(t: u32, local: u32) -> u32 {
  if (t % STAGE == 0u) {
    workgroupBarrier(); // the lines before are not needed any more
    for (var i = local; i < min(STAGE, WEIGHT_LINES - t) * K * VECTORS; i += WG) {
      staged[i / (K * VECTORS)][i % (K * VECTORS)] = w_all[t + i / (K * VECTORS)][i % (K * VECTORS)];
    }
    workgroupBarrier();
  }
  return t % STAGE;
}

fn weight(line: u32, i: u32) -> vec4f { return staged[line][i]; }
