// The solver's state, one small buffer of f32 that its three kernels share and the CPU reads.
// @const WINDOW: u32  entries of the ring
const STATE = 16u;          // f32 in it
const STEP = 0u;            // evaluations of the map so far
const SLOT = 1u;            // ring slot of the newest entry
const COUNT = 2u;           // entries in the ring
const RESIDUAL = 3u;        // ‖f(z) − z‖ at the newest entry
const MAGNITUDE = 4u;       // ‖f(z)‖ at the newest entry
const BEST_RESIDUAL = 5u;   // of all so far
const IMPROVED = 6u;        // 1: the newest entry is the best so far
const FINITE = 7u;          // 0: the newest residual is NaN or infinite; the step was not taken
const WEIGHTS = 8u;         // the mixing weight of each ring slot

// The slot that the next entry goes to.
fn next_slot(step: f32) -> u32 { return u32(step) % WINDOW; }
