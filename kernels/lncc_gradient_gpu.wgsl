// Gradient of the mean LNCC, or of its force, for b: lib/lncc_gather.wgsl, from terms t that are summed along D already, shifted along D; this
// kernel adds W and H. Layout a, b, db [N, D, H, W], t as in lib/fields_gpu.wgsl.
// @use fields
// @use plane_sums
// @use lncc_gather
struct Params { w: u32, h: u32, d: u32, lines: u32, radius_w: u32, radius_h: u32, radius_d: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> t: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> db: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

fn value(p: u32, n: u32) -> vec3f { return three(p + (n + 1u) * params.radius_d * params.h * params.w); }

struct Loaded { a: f32, b: f32, db: f32 }
fn load(p: u32) -> Loaded { return Loaded(a[p], b[p], gathered(p)); }
fn finish(p: u32, n: u32, sum: vec3f, loaded: Loaded) { gather(p, sum, loaded.a, loaded.b, loaded.db); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) { sum_planes(group, local); }
