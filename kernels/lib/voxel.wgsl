// The voxel of an invocation where x runs over the plane of w × h, row after row, and z over the d planes of all items of the batch.
// @use batch
struct Voxel { n: u32, p: u32, position: vec3f } // item of the batch; index in its volume; (w, h, d)

fn voxel_of(id: vec3u) -> Voxel {
  let n = batch_of(id.z, params.d);
  let d = id.z - n * params.d;
  let h = quotient(id.x, params.w);
  return Voxel(n, d * params.h * params.w + id.x, vec3f(f32(id.x - h * params.w), f32(h), f32(d)));
}
