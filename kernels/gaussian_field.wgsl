// y[i] ~ N(0, 1), independent, the same for the same seed on one adapter: Box-Muller on two integer hashes of (seed, i). Hash: pcg (Jarzynski & Olano,
// Hash Functions for GPU Rendering, JCGT 2020). seed: one whole number in 0 … 2²⁴ − 1, as f32. One invocation: one value.
// @use index
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> seed: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

fn hash(v: u32) -> u32 {
  let state = v * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.count) { return; }
  let first = hash(hash(i) ^ hash(u32(seed[0])));
  let second = hash(first ^ 0x9e3779b9u);
  let uniform_value = (f32(first >> 8u) + 1.0) / 16777216.0; // in (0, 1]
  let radius = sqrt(max(-2.0 * log(uniform_value), 0.0)); // near 1 a logarithm may err to above 0
  y[i] = radius * cos(6.2831853 * (f32(second >> 8u) / 16777216.0 - 0.5)); // WGSL says how exact cos is from −π to π only
}
