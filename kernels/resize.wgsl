// y[o] = Σ_i w(o,i)·x[i] / Σ_i w(o,i) along one axis, s = n_in / n_out. Where the axis grows, linear interpolation (align_corners=False):
// w = max(0, 1 − |i + ½ − (o + ½)·s|); where it shrinks, the mean over the output voxel's extent: w = overlap of voxels i and o.
// Layout [outer, n, inner]; one invocation: one y. TRANSPOSE: x̄[i] = Σ_o w(o,i)·ȳ[o].
// @use index
alias real = f32; // storage
struct Params { count: u32, inner: u32, n_in: u32, n_out: u32 }
@group(0) @binding(0) var<storage, read> x: array<real>;
@group(0) @binding(1) var<storage, read_write> y: array<real>;
@group(0) @binding(2) var<uniform> params: Params;

fn weight(o: u32, i: u32, s: f32) -> f32 {
  if (s > 1.0) { return max(0.0, min(f32(i) + 1.0, (f32(o) + 1.0) * s) - max(f32(i), f32(o) * s)); }
  return max(0.0, 1.0 - abs(f32(i) + 0.5 - (f32(o) + 0.5) * s));
}

// The input voxels that output o may read: from, to (exclusive).
fn reach(o: u32, s: f32) -> vec2u {
  let centre = (f32(o) + 0.5) * s - 0.5;
  let support = max(s, 1.0);
  return vec2u(u32(max(0.0, ceil(centre - support))), min(params.n_in, u32(max(0.0, floor(centre + support))) + 1u));
}

// What the weights of output o are multiplied by, so that they sum to 1.
fn norm(o: u32, s: f32) -> f32 {
  var sum = 0.0;
  let r = reach(o, s);
  for (var i = r.x; i < r.y; i++) { sum += weight(o, i, s); }
  return 1.0 / sum;
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let k = flat_index(id, groups);
  if (k >= params.count) { return; }
  let s = f32(params.n_in) / f32(params.n_out);
  let n = select(params.n_out, params.n_in, TRANSPOSE);
  let at = (k / params.inner) % n;
  let first = k / (params.inner * n) * select(params.n_in, params.n_out, TRANSPOSE) * params.inner + k % params.inner;
  var sum = 0.0;
  if (TRANSPOSE) {
    // Every output whose support may cover `at`, one more on both sides against rounding; the weight is 0 beyond.
    let centre = (f32(at) + 0.5) / s - 0.5;
    let width = max(1.0, 1.0 / s) + 1.0;
    let begin = u32(max(0.0, floor(centre - width)));
    let end = min(params.n_out, u32(max(0.0, ceil(centre + width))) + 1u);
    for (var o = begin; o < end; o++) {
      let w = weight(o, at, s);
      if (w > 0.0) { sum += w * norm(o, s) * f32(x[first + o * params.inner]); }
    }
    y[k] = real(sum);
  } else {
    let r = reach(at, s);
    var total = 0.0; // as norm() adds it up, so that the adjoint has the same weights
    for (var i = r.x; i < r.y; i++) {
      let w = weight(at, i, s);
      total += w;
      sum += w * f32(x[first + i * params.inner]);
    }
    y[k] = real(sum * (1.0 / total));
  }
}
