import { coverage, ellipsoid, tubeDistance, Waves, type Anatomy, type Tube } from './phantom-shapes.ts';

/** Hounsfield units. */
const air = -1000,
  parenchyma = -855,
  blood = 45,
  muscle = 50,
  fat = -95,
  liver = 62,
  bone = 420;

/** Edge in mm of the cells that vessels are looked up in, and cells along each axis: the field of view with a margin. */
const cell = 12,
  cells = [18, 23, 31];

/**
 * A right lung on CT in a field of view of 160×224×320 mm, axes left, posterior, superior, with vessels, fissures, ribs, heart and liver.
 * Labels: upper lobe 1, middle lobe 2, lower lobe 3. Vessels thinner than the voxel (mm) are dimmed accordingly.
 */
export function lungAnatomy(random: () => number, voxel: number): Anatomy {
  const texture = new Waves(random, 6, 22),
    bend = new Waves(random, 3, 70);
  const tubes = vesselTree(random);
  const nearby = tubesByCell(tubes, voxel);

  const anatomy: Anatomy = { value: air, label: 0, at };
  return anatomy;

  function lay(distance: number, value: number): void {
    anatomy.value += (value - anatomy.value) * coverage(distance, voxel);
  }

  function at(x: number, y: number, z: number): void {
    anatomy.value = air;
    anatomy.label = 0;
    const body = ellipsoid(x - 85, y, z, 162, 122, 1e4);
    if (body < -voxel) return;
    lay(body, fat);
    const lung = lungDistance(x, y, z);
    if (lung > voxel) {
      layParenchyma(x, y, z, lung);
      return;
    }
    const cage = ribCage(x, y, z);
    lay(Math.min(body - 5, cage + 17), muscle);
    // Ribs slope down to the front in a shell around the lung; the spine lies behind, near the middle.
    const ribs = 4.5 - Math.abs(Math.abs(((z - 0.45 * y - 0.1 * x + 1000) % 26) - 13));
    const shell = 3.2 - Math.abs(cage + 7);
    const rib = Math.min(ribs, shell, body - 4);
    if (x < 45) lay(rib, bone - 130 * coverage(rib - 1.5, voxel));
    const disc = Math.abs(((z + 1000) % 28) - 14) < 3;
    lay(Math.min(23 - Math.hypot(x - 80, y - 62), body - 8), disc ? 90 : 230);
    lay(Math.min(-diaphragm(x, y, z), body - 6), liver);
    lay(heart(x, y, z), blood);
    if (lung > -voxel) layParenchyma(x, y, z, lung);
  }

  function layParenchyma(x: number, y: number, z: number, lung: number): void {
    const bulge = bend.at(x, y, z);
    const oblique = (z - 0.85 * y + 14 + 5 * bulge) / 1.35; // lower lobe behind and below
    const horizontal = z - 2 - 0.1 * y - 3 * bulge; // middle lobe below, in front
    const lobe = oblique < 0 ? 3 : horizontal < 0 ? 2 : 1;
    const fissure = Math.min(Math.abs(oblique), oblique > 0 ? Math.abs(horizontal) : Infinity);
    const sheet = Math.max(0, 1 - fissure / voxel);
    let value = parenchyma + 0.25 * y + 10 * texture.at(x, y, z) + 150 * sheet;
    const list = nearby[cellOf(x, y, z)];
    if (list) {
      let full = 0;
      for (const tube of list) {
        const distance = tubeDistance(x, y, z, tube);
        const thin = Math.min(1, (2 * tube.rb) / voxel);
        full = Math.max(full, coverage(distance, voxel) * thin);
      }
      value += (blood - value) * full;
    }
    lay(lung, value);
    if (lung > 0) anatomy.label = lobe;
  }
}

function ribCage(x: number, y: number, z: number): number {
  return ellipsoid(x + 2, y, z + 10, 57, 84, 140);
}

function heart(x: number, y: number, z: number): number {
  return ellipsoid(x - 84, y + 28, z + 52, 62, 58, 66);
}

/** Signed distance above the dome of the diaphragm. */
function diaphragm(x: number, y: number, z: number): number {
  return -ellipsoid(x - 4, y - 4, z + 168, 84, 118, 88);
}

/** Signed distance to the lung: a tall ellipsoid with the heart, the mediastinum and the diaphragm taken out. */
function lungDistance(x: number, y: number, z: number): number {
  const mediastinum = 50 - x - 0.12 * Math.abs(y);
  return Math.min(ribCage(x, y, z), diaphragm(x, y, z), -heart(x, y, z) - 2, mediastinum);
}

/**
 * Vessels from the hilum to random points of the lung: each point joins the nearest tube end, long ways round counting as distance;
 * radii follow Murray's law, r³ = Σ r³ of the branches.
 */
function vesselTree(random: () => number): Tube[] {
  const points: number[][] = [[46, 8, 2]];
  while (points.length < 1000) {
    const p = [120 * random() - 62, 180 * random() - 90, 290 * random() - 150];
    if (lungDistance(p[0], p[1], p[2]) > 5) points.push(p);
  }
  const [hilum] = points;
  const fromHilum = (p: number[]) => Math.hypot(p[0] - hilum[0], p[1] - hilum[1], p[2] - hilum[2]);
  points.sort((a, b) => fromHilum(a) - fromHilum(b));
  const parent = new Int32Array(points.length),
    path = new Float64Array(points.length);
  for (let n = 1; n < points.length; n++) {
    let best = Infinity;
    for (let m = 0; m < n; m++) {
      const step = Math.hypot(points[n][0] - points[m][0], points[n][1] - points[m][1], points[n][2] - points[m][2]);
      const cost = step + 0.45 * path[m];
      if (cost < best) [best, parent[n], path[n]] = [cost, m, path[m] + step];
    }
  }
  const cubes = new Float64Array(points.length).fill(0.75 ** 3);
  for (let n = points.length - 1; n > 0; n--) cubes[parent[n]] += cubes[n];
  return points.slice(1).map((b, n) => {
    const a = points[parent[n + 1]];
    const r = Math.cbrt(cubes[n + 1]);
    return { ax: a[0], ay: a[1], az: a[2], bx: b[0], by: b[1], bz: b[2], ra: Math.min(r * 1.15, Math.cbrt(cubes[parent[n + 1]])), rb: r };
  });
}

/** For each cell, the tubes that reach into it. */
function tubesByCell(tubes: Tube[], voxel: number): (Tube[] | undefined)[] {
  const lists: (Tube[] | undefined)[] = new Array(cells[0] * cells[1] * cells[2]);
  for (const t of tubes) {
    const reach = Math.max(t.ra, t.rb) + voxel;
    const range = (a: number, b: number, n: number) => [cellAlong(Math.min(a, b) - reach, n), cellAlong(Math.max(a, b) + reach, n)];
    const [x0, x1] = range(t.ax, t.bx, cells[0]),
      [y0, y1] = range(t.ay, t.by, cells[1]),
      [z0, z1] = range(t.az, t.bz, cells[2]);
    for (let z = z0; z <= z1; z++)
      for (let y = y0; y <= y1; y++)
        for (let x = x0; x <= x1; x++) {
          (lists[(z * cells[1] + y) * cells[0] + x] ??= []).push(t);
        }
  }
  return lists;
}

function cellOf(x: number, y: number, z: number): number {
  return (cellAlong(z, cells[2]) * cells[1] + cellAlong(y, cells[1])) * cells[0] + cellAlong(x, cells[0]);
}

function cellAlong(x: number, n: number): number {
  return Math.min(Math.max(Math.floor(x / cell + n / 2), 0), n - 1);
}
