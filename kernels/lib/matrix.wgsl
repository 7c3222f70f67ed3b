// The kernel's 3×4 matrix M (params.matrix, by rows) from voxels of the output grid to voxels of the image. Its rows are the columns of rows(), so
// that v * rows() is M's linear part times v, and rows() * g its transpose times g.
fn rows() -> mat3x3f {
  return mat3x3f(params.matrix[0].xyz, params.matrix[1].xyz, params.matrix[2].xyz);
}

fn mapped(q: vec3f) -> vec3f {
  let x = vec4f(q, 1.0);
  return vec3f(dot(params.matrix[0], x), dot(params.matrix[1], x), dot(params.matrix[2], x));
}
