// Where an image's mass lies and how it stretches: the start of an affine registration when nothing else is known.
import { applyAffine, type Vec3 } from '../io/affine.ts';
import type { MaskedVolume } from '../io/volume.ts';
import type { IntensityWindow } from './intensity.ts';

export type Matrix3 = readonly [Vec3, Vec3, Vec3];

export interface Moments {
  /** Centre of mass, RAS mm. */
  centre: Vec3;
  /** Root mean square distance from it, mm. */
  radius: number;
  /** Principal axes as rows, from the longest to the shortest; a right-handed frame. */
  axes: Matrix3;
}

/**
 * Moments of the intensities, windowed to 0…1, inside the mask, over every second voxel along each axis (or all, where those hold no mass).
 */
export function moments(volume: MaskedVolume, window: IntensityWindow, stride = 2): Moments {
  const {
      size: [w, h, d],
      affine,
      data,
      mask,
    } = volume,
    { low, high } = window;
  let mass = 0;
  const first = [0, 0, 0];
  const second = [0, 0, 0, 0, 0, 0];
  for (let k = 0; k < d; k += stride) {
    for (let j = 0; j < h; j += stride) {
      for (let i = 0; i < w; i += stride) {
        const v = (k * h + j) * w + i;
        const m = Math.min(1, Math.max(0, (data[v] - low) / (high - low)));
        if (m === 0 || mask?.[v] === 0) continue;
        mass += m;
        first[0] += m * i;
        first[1] += m * j;
        first[2] += m * k;
        second[0] += m * i * i;
        second[1] += m * j * j;
        second[2] += m * k * k;
        second[3] += m * i * j;
        second[4] += m * i * k;
        second[5] += m * j * k;
      }
    }
  }
  if (mass === 0 && stride > 1) return moments(volume, window, 1);
  const mean = first.map((x) => x / mass) as Vec3;
  const [ii, jj, kk, ij, ik, jk] = second.map((x, n) => x / mass - mean[[0, 1, 2, 0, 0, 1][n]] * mean[[0, 1, 2, 1, 2, 2][n]]) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const voxels: Matrix3 = [
    [ii, ij, ik],
    [ij, jj, jk],
    [ik, jk, kk],
  ];
  const linear = rows(affine);
  const covariance = multiply(multiply(linear, voxels), transpose(linear));
  return {
    centre: applyAffine(affine, mean),
    radius: Math.sqrt(covariance[0][0] + covariance[1][1] + covariance[2][2]),
    axes: principalAxes(covariance),
  };
}

export const rows = (a: readonly number[]): Matrix3 => [
  [a[0], a[1], a[2]],
  [a[4], a[5], a[6]],
  [a[8], a[9], a[10]],
];
export const transpose = (a: Matrix3): Matrix3 => [0, 1, 2].map((i) => a.map((row) => row[i])) as unknown as Matrix3;
export const multiply = (a: Matrix3, b: Matrix3): Matrix3 =>
  a.map((row) => [0, 1, 2].map((j) => row.reduce((sum, x, k) => sum + x * b[k][j], 0))) as unknown as Matrix3;
const cross = ([a, b, c]: Vec3, [x, y, z]: Vec3): Vec3 => [b * z - c * y, c * x - a * z, a * y - b * x];

/** Eigenvectors of a symmetric 3×3 matrix as rows, largest eigenvalue first, by Jacobi rotations. */
function principalAxes(symmetric: Matrix3): Matrix3 {
  let a = symmetric;
  let v: Matrix3 = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ];
  for (let sweep = 0; sweep < 30; sweep++) {
    for (const [p, q] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const) {
      const angle = 0.5 * Math.atan2(2 * a[p][q], a[q][q] - a[p][p]);
      const turn = [0, 1, 2].map((i) =>
        [0, 1, 2].map((j) =>
          i === j
            ? i === p || i === q
              ? Math.cos(angle)
              : 1
            : i === p && j === q
              ? Math.sin(angle)
              : i === q && j === p
                ? -Math.sin(angle)
                : 0,
        ),
      ) as unknown as Matrix3;
      a = multiply(multiply(transpose(turn), a), turn);
      v = multiply(v, turn);
    }
  }
  const order = [0, 1, 2].sort((i, j) => a[j][j] - a[i][i]);
  const columns = transpose(v);
  const [x, y] = order.map((i) => columns[i]) as [Vec3, Vec3];
  return [x, y, cross(x, y)];
}
