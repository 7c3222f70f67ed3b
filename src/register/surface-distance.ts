// 95th percentile of the symmetric surface distance (HD95) of label maps, in mm.
//
// Distances are exact: for one label, a scan along W gives each voxel of a row its distance to the nearest target voxel of that row;
// a query then visits the rows (h, d) around it in the order of their distance, and stops once the next row is farther than the best.

import type { Vec3 } from '../io/affine.ts';

type Size = Readonly<Vec3>;
type Labels = ArrayLike<number>;

/** Box of voxels, both ends included: [w0, w1, h0, h1, d0, d1]. */
type Box = [number, number, number, number, number, number];

/** HD95 in mm per label, and its mean over the labels. */
export interface SurfaceDistance {
  mean: number;
  perLabel: Record<string, number>;
}

/**
 * HD95 between two label maps on one grid: per label, the larger of the two directed 95th percentiles (fixed → warped and warped → fixed),
 * as in Learn2Reg and DeepMind's surface-distance, which weigh pieces of surface by their area. Here a surface voxel has a 6-neighbour
 * outside its label; beyond the volume is outside. Distances are between voxel centres, each surface voxel counts once, and the percentile
 * is the smallest distance that at least 95 % of them do not exceed. A label missing from one of the maps has HD95 Infinity.
 * @param size voxels along (W, H, D)
 * @param spacing mm along (W, H, D)
 */
export function hd95(fixed: Labels, warped: Labels, labels: readonly number[], size: Size, spacing: Size): SurfaceDistance {
  const voxels = size[0] * size[1] * size[2];
  if (fixed.length !== voxels || warped.length !== voxels) {
    throw new Error(`hd95: ${fixed.length} fixed and ${warped.length} warped labels on a grid of ${size.join('×')} = ${voxels} voxels`);
  }
  if (spacing.length !== 3 || !spacing.every((mm) => Number.isFinite(mm) && mm > 0))
    throw new Error(`hd95: spacing must be three numbers of mm above 0, got [${spacing}]`);
  const fixedSurfaces = surfaces(fixed, labels, size);
  const warpedSurfaces = surfaces(warped, labels, size);
  const rows = rowsByDistance(size, spacing);
  const rowDistance = new Float32Array(voxels);
  const perLabel: Record<string, number> = {};
  let sum = 0;
  labels.forEach((label, l) => {
    const directed = (from: number[], to: number[]) => directed95(from, to, size, spacing, rows, rowDistance);
    const a = fixedSurfaces[l],
      b = warpedSurfaces[l];
    perLabel[label] = a.length && b.length ? Math.max(directed(a, b), directed(b, a)) : Infinity;
    sum += perLabel[label];
  });
  return { mean: sum / labels.length, perLabel };
}

/** Indices of the surface voxels of each label. */
function surfaces(map: Labels, labels: readonly number[], [W, H, D]: Size): number[][] {
  const found = labels.map((): number[] => []);
  const listOf = new Map(labels.map((label, l) => [label, found[l]]));
  const slice = W * H;
  for (let d = 0, v = 0; d < D; d++)
    for (let h = 0; h < H; h++) {
      const edgeRow = d === 0 || d === D - 1 || h === 0 || h === H - 1;
      for (let w = 0; w < W; w++, v++) {
        const label = map[v];
        if (label === 0) continue;
        if (
          edgeRow ||
          w === 0 ||
          w === W - 1 ||
          map[v - 1] !== label ||
          map[v + 1] !== label ||
          map[v - W] !== label ||
          map[v + W] !== label ||
          map[v - slice] !== label ||
          map[v + slice] !== label
        )
          listOf.get(label)?.push(v);
      }
    }
  return found;
}

/** Offsets (|dh|, |dd|) of all rows of a grid, nearest first, with their squared distances in mm². */
function rowsByDistance([, H, D]: Size, [, sh, sd]: Size) {
  const squared = new Float64Array(H * D);
  for (let d = 0; d < D; d++) for (let h = 0; h < H; h++) squared[d * H + h] = (h * sh) ** 2 + (d * sd) ** 2;
  const order = new Uint32Array(H * D).map((_, n) => n).sort((a, b) => squared[a] - squared[b]);
  return {
    h: Uint16Array.from(order, (n) => n % H),
    d: Uint16Array.from(order, (n) => Math.floor(n / H)),
    squared: Float64Array.from(order, (n) => squared[n]),
  };
}

type Rows = ReturnType<typeof rowsByDistance>;

/** 95th percentile of the distances in mm from each voxel of `from` to the nearest voxel of `to`; `rowDistance` is scratch, one a voxel. */
function directed95(from: number[], to: number[], size: Size, spacing: Size, rows: Rows, rowDistance: Float32Array): number {
  const [W, H] = size;
  const slice = W * H;
  const target = boundingBox(to, size),
    query = boundingBox(from, size);
  const [, , h0, h1, d0, d1] = target;
  scanRows(to, [Math.min(target[0], query[0]), Math.max(target[1], query[1]), h0, h1, d0, d1], size, spacing[0], rowDistance);
  const distances = new Float64Array(from.length);
  for (let n = 0; n < from.length; n++) {
    const v = from[n];
    const w = v % W,
      h = Math.floor(v / W) % H,
      d = Math.floor(v / slice);
    let best = Infinity;
    for (let r = 0; r < rows.squared.length && rows.squared[r] < best; r++) {
      const away = rows.squared[r],
        dh = rows.h[r],
        dd = rows.d[r];
      for (let row = d - dd, side = 0; side < 2; side++, row = d + dd) {
        if (row < d0 || row > d1) continue;
        if (h - dh >= h0 && h - dh <= h1) best = Math.min(best, away + rowDistance[row * slice + (h - dh) * W + w]);
        if (h + dh >= h0 && h + dh <= h1) best = Math.min(best, away + rowDistance[row * slice + (h + dh) * W + w]);
      }
    }
    distances[n] = best;
  }
  distances.sort();
  return Math.sqrt(distances[Math.ceil(0.95 * distances.length) - 1]);
}

/** Squared distance in mm² along W from each voxel of the box to the nearest voxel of `to` in its row; Infinity in a row without one. */
function scanRows(to: number[], [w0, w1, h0, h1, d0, d1]: Box, [W, H]: Size, spacing: number, rowDistance: Float32Array): void {
  for (let d = d0; d <= d1; d++)
    for (let h = h0; h <= h1; h++) {
      const row = (d * H + h) * W;
      rowDistance.fill(Infinity, row + w0, row + w1 + 1);
    }
  for (const v of to) rowDistance[v] = 0;
  for (let d = d0; d <= d1; d++)
    for (let h = h0; h <= h1; h++) {
      const row = (d * H + h) * W;
      let last = -Infinity;
      for (let w = w0; w <= w1; w++) {
        if (rowDistance[row + w] === 0) last = w;
        else rowDistance[row + w] = ((w - last) * spacing) ** 2;
      }
      last = Infinity;
      for (let w = w1; w >= w0; w--) {
        if (rowDistance[row + w] === 0) last = w;
        else rowDistance[row + w] = Math.min(rowDistance[row + w], ((last - w) * spacing) ** 2);
      }
    }
}

function boundingBox(voxels: number[], [W, H]: Size): Box {
  const box: Box = [Infinity, -1, Infinity, -1, Infinity, -1];
  for (const v of voxels) {
    const row = Math.floor(v / W);
    const w = v - row * W,
      h = row % H,
      d = Math.floor(row / H);
    if (w < box[0]) box[0] = w;
    if (w > box[1]) box[1] = w;
    if (h < box[2]) box[2] = h;
    if (h > box[3]) box[3] = h;
    if (d < box[4]) box[4] = d;
    if (d > box[5]) box[5] = d;
  }
  return box;
}
