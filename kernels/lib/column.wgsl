// The column (w, h) along D that an invocation of a kernel walks: its item n, where it begins in planes of w × h voxels and in t (shifted along W
// and D), and its voxels inside the volume in a window along w and h.
struct Column { n: u32, plane: u32, at: u32, first: u32, inside: f32 }
var<private> column: Column;

fn take_column(i: u32) {
  let plane = params.w * params.h;
  let n = i / plane;
  let at = i % plane;
  column = Column(n, plane, at, column_of(n, at) + shift(params.radius_w), column_count(at, params.w, params.h, params.radius_w, params.radius_h));
}

// Voxel i of the column in a volume of one channel; voxels of the window around it that lie inside.
fn voxel(i: u32) -> u32 { return i * column.plane + column.at; }
fn count_at(i: u32) -> f32 { return column.inside * inside(i, params.d, params.radius_d); }
