// y[o] = Σ_i w(o,i)·x[i] along one axis, s = n_in / n_out. Where the axis grows, linear interpolation (align_corners=False):
// w = max(0, 1 − |c − i|), c = (o + ½)·s − ½ held inside 0 … n_in − 1; where it shrinks, the mean over the output voxel's extent:
// w = overlap of voxels i and o, divided by s; counted in whole parts, 1/(n_in·n_out) of the axis, so that weights sum to 1.
// TRANSPOSE: x̄[i] = Σ_o w(o,i)·ȳ[o], its output a voxel i. Layout [planes, H, W], the lengths those of the output; one invocation: LANES
// neighbours along W, 1 where that is the axis.
// @use reals$LANES
// @use batch
// @const AXIS: u32        0 for W, 1 for H, 2 for D
// @const TAPS: i32        voxels that an output may read
// @const TRANSPOSE: bool  the adjoint
alias real = f32; // storage
struct Params { w: u32, h: u32, d: u32, n_in: u32, n_out: u32 }
@group(0) @binding(0) var<storage, read> x: array<reals>;
@group(0) @binding(1) var<storage, read_write> y: array<reals>;
@group(0) @binding(2) var<uniform> params: Params;

fn weight(o: i32, i: i32, s: f32) -> f32 {
  if (s > 1.0) {
    let length = vec2i(i32(params.n_out), i32(params.n_in)); // of an i and of an o
    let begin = vec2i(i, o) * length;
    let end = begin + length;
    return f32(max(0, min(end.x, end.y) - max(begin.x, begin.y))) / f32(params.n_in);
  }
  return max(0.0, 1.0 - abs(clamp((f32(o) + 0.5) * s - 0.5, 0.0, f32(params.n_in - 1u)) - f32(i)));
}

// The first voxel that voxel `at` of the output may read; TAPS from there on are enough, rounding included.
fn first_read(at: u32, s: f32) -> i32 {
  let a = f32(at);
  if (TRANSPOSE) { return i32(floor(select((a - 0.5) / s - 0.5, a / s, s > 1.0))) - select(0, 1, s > 1.0); }
  return i32(floor(select((a + 0.5) * s - 0.5, a * s, s > 1.0)));
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = params.w / LANES;
  if (id.x >= row || id.y >= params.h) { return; }
  let s = f32(params.n_in) / f32(params.n_out);
  let n = i32(select(params.n_in, params.n_out, TRANSPOSE)); // voxels of x along the axis
  // The line of x through this voxel: where it starts, and from one of its voxels to the next.
  var line = (id.z * params.h + id.y) * u32(n);
  var step = 1u;
  var at = id.x;
  if (AXIS == 1u) {
    line = id.z * u32(n) * row + id.x;
    step = row;
    at = id.y;
  }
  if (AXIS == 2u) {
    let item = batch_of(id.z, params.d);
    line = (item * u32(n) * params.h + id.y) * row + id.x;
    step = row * params.h;
    at = id.z - item * params.d;
  }
  let first = first_read(at, s);
  var sums: array<f32, LANES>;
  for (var tap = 0; tap < TAPS; tap++) {
    let j = first + tap;
    if (j >= 0 && j < n) {
      let w = select(weight(i32(at), j, s), weight(j, i32(at), s), TRANSPOSE);
      if (w > 0.0) {
        let values = x[line + u32(j) * step];
        for (var l = 0u; l < LANES; l++) { sums[l] += w * lane(values, l); }
      }
    }
  }
  y[(id.z * params.h + id.y) * row + id.x] = reals_of(sums);
}
