// Weights of a convolution by way of workgroup memory, STAGE lines of taps at a time: a GPU's first cache of constants holds far fewer (2 KB on
// NVIDIA's), and its workgroups do not all read the same ones at once. A line has K taps of VECTORS vec4f.
const STAGED_VECTORS = STAGE * K * VECTORS;
var<workgroup> staged: array<vec4f, STAGED_VECTORS>;

// Returns where the weights of line t are; at the first of STAGE lines, copies them all there.
fn stage(t: u32, local: u32) -> u32 {
  if (t % STAGE == 0u) {
    workgroupBarrier(); // the lines before are not needed any more
    for (var i = local; i < min(STAGED_VECTORS, WEIGHTS - t * K * VECTORS); i += WG) { staged[i] = w_all[t * K * VECTORS + i]; }
    workgroupBarrier();
  }
  return t % STAGE * K * VECTORS;
}

fn weight(i: u32) -> vec4f { return staged[i]; }
