// Position of an invocation in a launch of more than 65 535 workgroups: rows of workgroups along y.
fn flat_index(id: vec3u, groups: vec3u) -> u32 {
  return id.x + id.y * groups.x * WG;
}
