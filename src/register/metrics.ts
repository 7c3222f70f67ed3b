// What a registration is judged by: Dice, HD95 (surface-distance.ts), target registration error, and the regularity of the displacement.
// Label maps and displacements are flat, W fastest; a displacement u [3, D, H, W] holds voxels of the fixed grid in the order (w, h, d).

import { applyAffine, type Affine, type Vec3 } from '../io/affine.ts';
import type { Landmarks } from '../io/landmarks.ts';
import type { Grid } from '../io/volume.ts';
import { checkDisplacement, checkLength } from './lengths.ts';
import { sample } from './points.ts';

export { hd95, type SurfaceDistance } from './surface-distance.ts';

type Size = Readonly<Vec3>;
type Labels = ArrayLike<number>;

/** Overlap, 0 to 1, per label, and its mean over the labels. */
export interface Overlap {
  mean: number;
  perLabel: Record<string, number>;
}

/** Target registration error in mm: mean, standard deviation (population) and maximum over the landmarks, and each landmark's. */
export interface TargetError {
  mean: number;
  sd: number;
  max: number;
  perLandmark: Float64Array;
}

/** Regularity of a displacement over a region, from the determinant J of I + ∇u (no unit). */
export interface JacobianStats {
  /** Percentage of voxels with J ≤ 0. */
  foldingPercent: number;
  /** Standard deviation of log J, J clipped at 1e-9. */
  sdLogJ: number;
  /** The Learn2Reg evaluator's figure, about a quarter of the above: standard deviation of log(J + 3), J + 3 clipped to [1e-9, 1e9]. */
  sdLogJLearn2Reg: number;
  /** Smallest and largest J. */
  minJ: number;
  maxJ: number;
}

/**
 * Moving labels on the fixed grid: label at fixedToMoving(p + u(p)), nearest neighbour (floor(x + 0.5)); 0 where that lies beyond half
 * a voxel outside the moving grid.
 * @param u displacement [3, D, H, W] in voxels of the fixed grid
 * @param fixedToMoving fixed voxel → moving voxel
 */
export function warpLabels<T extends Float32Array | Int32Array>(
  labels: T,
  movingSize: Size,
  u: Float32Array,
  fixedSize: Size,
  fixedToMoving: Affine,
): T {
  const [MW, MH, MD] = movingSize,
    [W, H, D] = fixedSize;
  const voxels = W * H * D;
  checkLength('warpLabels', 'label voxels', labels.length, MW * MH * MD, movingSize);
  checkDisplacement('warpLabels', u, fixedSize);
  if (fixedToMoving.length !== 12 || !fixedToMoving.every(Number.isFinite))
    throw new Error(`warpLabels: fixedToMoving must be 12 numbers, got [${fixedToMoving}]`);
  const [a, b, c, x0, e, f, g, y0, p, q, r, z0] = fixedToMoving;
  const warped = (labels instanceof Int32Array ? new Int32Array(voxels) : new Float32Array(voxels)) as T;
  for (let d = 0, v = 0; d < D; d++)
    for (let h = 0; h < H; h++)
      for (let w = 0; w < W; w++, v++) {
        const i = w + u[v],
          j = h + u[v + voxels],
          k = d + u[v + 2 * voxels];
        const mw = Math.floor(a * i + b * j + c * k + x0 + 0.5);
        const mh = Math.floor(e * i + f * j + g * k + y0 + 0.5);
        const md = Math.floor(p * i + q * j + r * k + z0 + 0.5);
        if (mw >= 0 && mw < MW && mh >= 0 && mh < MH && md >= 0 && md < MD) warped[v] = labels[(md * MH + mh) * MW + mw];
      }
  return warped;
}

/**
 * Labels, ascending, that Dice and HD95 are averaged over: those present both in the fixed and in the (unwarped) moving map, of the
 * wanted ones or, without a wanted list, of all; never 0, the background. Throws when there is none.
 */
export function presentLabels(fixed: Labels, moving: Labels, wanted?: readonly number[]): number[] {
  const inFixed = distinct(fixed),
    inMoving = distinct(moving);
  const isWanted = (label: number) => label !== 0 && (!wanted || wanted.includes(label));
  const common = [...inFixed].filter((label) => inMoving.has(label) && isWanted(label));
  if (common.length === 0) {
    const list = (labels: Iterable<number>) =>
      [...labels]
        .sort((a, b) => a - b)
        .slice(0, 12)
        .join(' ') || 'none';
    const sought = wanted ? list(wanted) : 'all but 0';
    throw new Error(`labels: none in common (fixed ${list(inFixed)}; moving ${list(inMoving)}; wanted ${sought})`);
  }
  return common.sort((a, b) => a - b);
}

/** Dice coefficient 2|A ∩ B| / (|A| + |B|) of each label; take the labels from presentLabels, so that one lost by the warp counts as 0. */
export function dice(fixed: Labels, warped: Labels, labels: readonly number[]): Overlap {
  if (fixed.length !== warped.length) throw new Error(`dice: ${fixed.length} fixed and ${warped.length} warped voxels`);
  const row = new Map(labels.map((label, l) => [label, l]));
  const both = new Float64Array(labels.length),
    total = new Float64Array(labels.length);
  for (let v = 0; v < fixed.length; v++) {
    if (fixed[v] === 0 && warped[v] === 0) continue;
    const a = row.get(fixed[v]);
    if (fixed[v] === warped[v]) {
      if (a !== undefined) (both[a]++, (total[a] += 2));
      continue;
    }
    const b = row.get(warped[v]);
    if (a !== undefined) total[a]++;
    if (b !== undefined) total[b]++;
  }
  const perLabel: Record<string, number> = {};
  labels.forEach((label, l) => {
    perLabel[label] = (2 * both[l]) / total[l];
  });
  return { mean: labels.reduce((sum, label) => sum + perLabel[label], 0) / labels.length, perLabel };
}

/**
 * Target registration error in mm: |moving landmark − fixedToMoving(p + u(p))| for each fixed landmark p, u sampled linearly (border
 * clamped), the difference measured with the moving grid's affine. Throws when a landmark lies beyond half a voxel outside its grid.
 * @param u displacement [3, D, H, W] in voxels of the fixed grid, or null for none
 * @param fixedToMoving fixed voxel → moving voxel
 */
export function tre(landmarks: Landmarks, u: Float32Array | null, fixedSize: Size, fixedToMoving: Affine, moving: Grid): TargetError {
  const n = landmarks.fixed.length / 3;
  if (landmarks.moving.length !== 3 * n || n === 0) {
    throw new Error(`tre: ${n} fixed and ${landmarks.moving.length / 3} moving landmarks; pass as many of each, at least one`);
  }
  if (u) checkDisplacement('tre', u, fixedSize);
  const m = moving.affine;
  const perLandmark = Float64Array.from({ length: n }, (_, row) => {
    const p = landmarks.fixed.subarray(3 * row, 3 * row + 3),
      target = landmarks.moving.subarray(3 * row, 3 * row + 3);
    checkInside(`fixed landmark ${row + 1}`, p, fixedSize);
    checkInside(`moving landmark ${row + 1}`, target, moving.size);
    const shift = u ? sample(u, fixedSize, p) : [0, 0, 0];
    const [i, j, k] = applyAffine(
      fixedToMoving,
      shift.map((x, axis) => p[axis] + x),
    );
    const x = i - target[0],
      y = j - target[1],
      z = k - target[2];
    return Math.hypot(m[0] * x + m[1] * y + m[2] * z, m[4] * x + m[5] * y + m[6] * z, m[8] * x + m[9] * y + m[10] * z);
  });
  const mean = perLandmark.reduce((sum, x) => sum + x, 0) / n;
  const sd = Math.sqrt(perLandmark.reduce((sum, x) => sum + (x - mean) ** 2, 0) / n);
  return { mean, sd, max: perLandmark.reduce((a, b) => Math.max(a, b)), perLandmark };
}

/**
 * Determinant statistics of I + ∇u over the whole grid and, with a mask (non-zero = inside, such as the fixed segmentation), inside it.
 * Central differences, one-sided at the borders (numpy.gradient), 0 along an axis of one voxel.
 * @param u displacement [3, D, H, W] in voxels of its own grid
 */
export function jacobianStats(u: Float32Array, size: Size): { grid: JacobianStats };
export function jacobianStats(u: Float32Array, size: Size, mask: ArrayLike<number>): { grid: JacobianStats; mask: JacobianStats };
export function jacobianStats(u: Float32Array, size: Size, mask?: ArrayLike<number>): { grid: JacobianStats; mask?: JacobianStats };
export function jacobianStats(u: Float32Array, size: Size, mask?: ArrayLike<number>): { grid: JacobianStats; mask?: JacobianStats } {
  checkDisplacement('jacobianStats', u, size);
  if (mask) checkLength('jacobianStats', 'mask voxels', mask.length, u.length / 3, size);
  const determinants = jacobianDeterminants(u, size);
  return mask ? maskedStats(determinants, mask) : { grid: determinantStats(determinants) };
}

/** The determinant of I + ∇u at every voxel; differences as in `jacobianStats`. */
export function jacobianDeterminants(u: Float32Array, size: Size): Float32Array {
  checkDisplacement('jacobianDeterminants', u, size);
  const [W, H, D] = size;
  const n = W * H * D,
    slice = W * H;
  const determinants = new Float32Array(n);
  for (let d = 0, v = 0; d < D; d++) {
    const dl = d > 0 ? slice : 0,
      dr = d < D - 1 ? slice : 0;
    const ds = slice / (dl + dr || Infinity);
    for (let h = 0; h < H; h++) {
      const hl = h > 0 ? W : 0,
        hr = h < H - 1 ? W : 0;
      const hs = W / (hl + hr || Infinity);
      for (let w = 0; w < W; w++, v++) {
        const wl = w > 0 ? 1 : 0,
          wr = w < W - 1 ? 1 : 0;
        const ws = 1 / (wl + wr || Infinity);
        const v1 = v + n,
          v2 = v1 + n;
        const a = 1 + (u[v + wr] - u[v - wl]) * ws,
          b = (u[v + hr] - u[v - hl]) * hs,
          c = (u[v + dr] - u[v - dl]) * ds;
        const e = (u[v1 + wr] - u[v1 - wl]) * ws,
          f = 1 + (u[v1 + hr] - u[v1 - hl]) * hs,
          g = (u[v1 + dr] - u[v1 - dl]) * ds;
        const p = (u[v2 + wr] - u[v2 - wl]) * ws,
          q = (u[v2 + hr] - u[v2 - hl]) * hs,
          r = 1 + (u[v2 + dr] - u[v2 - dl]) * ds;
        determinants[v] = a * (f * r - g * q) - b * (e * r - g * p) + c * (e * q - f * p);
      }
    }
  }
  return determinants;
}

/** The same statistics of determinants that are known already, such as those of `jacobian`. */
export function determinantStats(determinants: Float32Array): JacobianStats {
  const tally = newTally();
  for (let v = 0; v < determinants.length; v++) count(tally, determinants[v]);
  return summary(tally);
}

/** The same inside a mask (not 0) and in the whole grid. */
export function maskedStats(determinants: Float32Array, mask: ArrayLike<number>): { grid: JacobianStats; mask: JacobianStats } {
  const inside = newTally(),
    outside = newTally();
  for (let v = 0; v < determinants.length; v++) count(mask[v] !== 0 ? inside : outside, determinants[v]);
  if (inside.n === 0) throw new Error('jacobianStats: empty mask; pass one with voxels inside, or none');
  return { grid: summary(merge(inside, outside)), mask: summary(inside) };
}

/** Running sums of a region: voxels, folded voxels, log J and log(J + 3) with their squares, and the smallest and largest J. */
const newTally = () => ({ n: 0, folded: 0, log: 0, log2: 0, shifted: 0, shifted2: 0, min: Infinity, max: -Infinity });
type Tally = ReturnType<typeof newTally>;

function count(t: Tally, det: number): void {
  const log = Math.log(Math.max(det, 1e-9)); // NaN stays NaN
  const shifted = Math.log(Math.min(Math.max(det + 3, 1e-9), 1e9) / 4); // the 4 moves the mean near 0 and leaves the deviation
  t.n++;
  t.folded += det > 0 ? 0 : det <= 0 ? 1 : NaN;
  t.log += log;
  t.log2 += log * log;
  t.shifted += shifted;
  t.shifted2 += shifted * shifted;
  t.min = Math.min(t.min, det);
  t.max = Math.max(t.max, det);
}

function merge(a: Tally, b: Tally): Tally {
  return {
    n: a.n + b.n,
    folded: a.folded + b.folded,
    log: a.log + b.log,
    log2: a.log2 + b.log2,
    shifted: a.shifted + b.shifted,
    shifted2: a.shifted2 + b.shifted2,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
  };
}

function summary(t: Tally): JacobianStats {
  const sd = (sum: number, squares: number) => Math.sqrt(Math.max(0, squares / t.n - (sum / t.n) ** 2));
  return {
    foldingPercent: (100 * t.folded) / t.n,
    sdLogJ: sd(t.log, t.log2),
    sdLogJLearn2Reg: sd(t.shifted, t.shifted2),
    minJ: t.min,
    maxJ: t.max,
  };
}

function distinct(map: Labels): Set<number> {
  const found = new Set<number>();
  let last = NaN;
  for (let v = 0; v < map.length; v++) if (map[v] !== last) found.add((last = map[v]));
  return found;
}

function checkInside(what: string, p: Float64Array, size: Size): void {
  if (p.every((x, axis) => x >= -0.5 && x <= size[axis] - 0.5)) return;
  throw new Error(`tre: ${what} (${p.join(', ')}) lies outside the grid of ${size.join('×')} voxels`);
}
