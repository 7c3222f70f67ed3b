// The levels of a coarse-to-fine registration: which grid each one solves on.
import type { Vec3 } from '../io/affine.ts';

/** A level's grid over the whole field of view: voxels along (w, h, d), and how many of the finest voxels one of its voxels is. */
export interface Level { factor: number; size: Vec3; scale: Vec3 }

/** Three halvings by default, the finest of them on at most this many voxels (a 128³ grid). */
const FINEST_VOXELS = 2 ** 21;
/** An axis is not halved below this many voxels. */
const LEAST = 9;

/**
 * The grid of a level: voxels of `factor` times the finest spacing. The finest axes are coarsened first, and an axis whose
 * spacing is coarser already (thick slices), or that would fall below 9 voxels, keeps its voxels.
 */
export function levelGrid(size: Vec3, spacing: Vec3, factor: number): Level {
  const target = Math.min(...spacing) * factor * 1.01;
  const coarse = size.map((n, axis) => {
    let f = 1;
    while (2 * f * spacing[axis]! <= target && n / (2 * f) >= LEAST) f *= 2;
    return Math.ceil(n / f);
  }) as Vec3;
  return { factor, size: coarse, scale: coarse.map((n, axis) => size[axis]! / n) as Vec3 };
}

/** Default factors, coarse to fine: f·4, f·2, f with the smallest f (a power of two) whose grid has at most 2²¹ voxels. */
export function defaultLevels(size: Vec3, spacing: Vec3): number[] {
  let finest = 1;
  while (levelGrid(size, spacing, finest).size.reduce((a, b) => a * b) > FINEST_VOXELS) finest *= 2;
  return [4 * finest, 2 * finest, finest];
}
