// w_o = g_o · v_o/‖v_o‖ for each output channel o (Salimans & Kingma, NeurIPS 2016). Layout v, w [Co, size]. One workgroup: one o.
// @use workgroup_sum
struct Params { size: u32 }
@group(0) @binding(0) var<storage, read> v: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> w: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let start = group.x * params.size;
  var squares = 0.0;
  for (var i = start + local; i < start + params.size; i += WG) { squares += v[i] * v[i]; }
  let scale = g[group.x] / sqrt(workgroup_sum(squares, local));
  for (var i = start + local; i < start + params.size; i += WG) { w[i] = scale * v[i]; }
}
