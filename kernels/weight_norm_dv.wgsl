// dg_o = ⟨dw_o, v_o⟩/‖v_o‖ and dv_o = g_o/‖v_o‖ · (dw_o − v_o·⟨dw_o, v_o⟩/‖v_o‖²): the gradients of weight_norm.wgsl.
// Layout v, dw, dv [Co, size]. One workgroup: one o.
// @use workgroup_sum
struct Params { size: u32 }
@group(0) @binding(0) var<storage, read> v: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> dw: array<f32>;
@group(0) @binding(3) var<storage, read_write> dv: array<f32>;
@group(0) @binding(4) var<storage, read_write> dg: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let start = group.x * params.size;
  var squares = 0.0;
  var product = 0.0;
  for (var i = start + local; i < start + params.size; i += WG) {
    squares += v[i] * v[i];
    product += v[i] * dw[i];
  }
  squares = workgroup_sum(squares, local);
  workgroupBarrier();
  product = workgroup_sum(product, local);
  let scale = 1.0 / sqrt(squares);
  for (var i = start + local; i < start + params.size; i += WG) {
    dv[i] = g[group.x] * scale * (dw[i] - v[i] * (product / squares));
  }
  if (local == 0u) { dg[group.x] = product * scale; }
}
