// y[n] = (mean, variance) of the voxels inside a window, from sums t = (Σa, Σa², ·) over W and H; this kernel adds the D axis.
// Layout t as in lib/fields.wgsl, y [N, 2, D, H, W]. One invocation: RUN outputs along D.
// @use column
// @use walk_$PROCESSOR
struct Params { lines: u32, w: u32, h: u32, d: u32, runs: u32, radius_w: u32, radius_h: u32, radius_d: u32 }
@group(0) @binding(0) var<storage, read> t: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

struct Loaded { nothing: u32 }
fn load(i: u32) -> Loaded { return Loaded(); }

fn visit(i: u32, sum: vec3f, loaded: Loaded) {
  let count = count_at(i);
  let mean_a = mean(sum.x, count);
  let voxels = column.plane * params.d;
  y[2u * column.n * voxels + voxel(i)] = mean_a;
  y[(2u * column.n + 1u) * voxels + voxel(i)] = max(0.0, mean(sum.y, count) - mean_a * mean_a);
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  let exists = id.x < params.lines && id.y < params.runs;
  take_column(id.x);
  walk_line(column.first, plane_step(), select(0u, params.d, exists), params.radius_d, id.y, local);
}
