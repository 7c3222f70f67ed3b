// The column along D that an invocation walks: item n of the batch; voxels of a plane; its offset in a plane; the offset of its first voxel in t
// (shifted along W and D); voxels of the window along W and H that lie inside the volume.
// @use local
// @use fields
struct Column { n: u32, plane: u32, offset: u32, first: u32, inside: f32 }
var<private> column: Column;

fn take_column(i: u32) {
  let plane = params.w * params.h;
  let n = i / plane;
  let at = i % plane;
  column = Column(n, plane, at, column_of(n, at) + shift(params.radius_w), column_count(at, params.w, params.h, params.radius_w, params.radius_h));
}

// Voxel i of the column in a volume of one channel; voxels of the window around it that lie inside.
fn voxel(i: u32) -> u32 { return i * column.plane + column.offset; }
fn count_at(i: u32) -> f32 { return column.inside * inside(i, params.d, params.radius_d); }
