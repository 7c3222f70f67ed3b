// The kernel's 3×4 matrix M (params m00 … m23) from voxels of the output grid to voxels of the image. Its rows are the columns of rows(), so
// that v * rows() is M's linear part times v, and rows() * g its transpose times g.
fn rows() -> mat3x3f {
  return mat3x3f(params.m00, params.m01, params.m02, params.m10, params.m11, params.m12, params.m20, params.m21, params.m22);
}

fn mapped(q: vec3f) -> vec3f {
  let m = rows();
  return vec3f(dot(m[0], q) + params.m03, dot(m[1], q) + params.m13, dot(m[2], q) + params.m23);
}
