// t = Σ over the window along W and H of (b, b², a·b), of centred a and b: LNCC's moments, two axes at once, shifted along D. Layout a, b
// [N, D, H, W], t as in lib/fields_gpu.wgsl.
// @use fields_set
// @use plane_sums
struct Params { w: u32, h: u32, d: u32, lines: u32, radius_d: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> t: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn value(p: u32, n: u32) -> vec3f { return vec3f(b[p], b[p] * b[p], a[p] * b[p]); }

struct Loaded { nothing: u32 }
fn load(p: u32) -> Loaded { return Loaded(); }

fn finish(p: u32, n: u32, sum: vec3f, loaded: Loaded) {
  set_three(p + (n + 1u) * params.radius_d * params.h * params.w, sum);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) { sum_planes(group, local); }
