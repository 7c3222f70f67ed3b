// Do two volumes share space, and where? Before hours are spent on two that do not.
import { type Affine, applyAffine } from '../io/affine.ts';
import { type Grid, voxelCount } from '../io/volume.ts';
import { matrixBetween } from './pyramid.ts';

/** Fraction of a grid's voxels (sampled) whose place in space lies inside another grid; a transform (RAS mm) moves them there first. */
export function overlap(grid: Grid, other: Grid, transform?: Affine): number {
  const toOther = matrixBetween(grid, other, transform);
  const SAMPLES = 12;
  let inside = 0;
  for (let k = 0; k < SAMPLES; k++) {
    for (let j = 0; j < SAMPLES; j++) {
      for (let i = 0; i < SAMPLES; i++) {
        const p = [i, j, k].map((s, axis) => ((s + 0.5) / SAMPLES) * grid.size[axis]! - 0.5);
        if (applyAffine(toOther, p).every((x, axis) => x >= -0.5 && x <= other.size[axis]! - 0.5)) inside++;
      }
    }
  }
  return inside / SAMPLES ** 3;
}

/** Throws when less than a twentieth of either volume lies inside the other. */
export function checkOverlap(fixed: Grid, moving: Grid): void {
  const shares = [overlap(fixed, moving), overlap(moving, fixed)];
  if (Math.max(...shares) >= 0.05) return;
  const [fixedShare, movingShare] = shares.map((share) => `${(100 * share).toFixed(0)} %`);
  throw new Error(
    `the volumes do not overlap: ${fixedShare} of the fixed grid lies inside the moving one, ${movingShare} the other way round; ` +
      "check the headers' affines (sform/qform), or, where they mean nothing, bring the volumes together by affine moments, rigid or affine",
  );
}

/** Less of the fixed grid than this outside the moving image is passed over. */
const NEGLIGIBLE = 0.01;

/** Does a noticeable part of the fixed grid lie where the moving image, after the transform, has no voxels? */
export const reachesOut = (fixed: Grid, moving: Grid, transform?: Affine): boolean => overlap(fixed, moving, transform) < 1 - NEGLIGIBLE;

/** The headers' places of images that share less than this share of the fixed grid are no start for an alignment. */
const MEANT = 0.25;

/** Do the headers put a noticeable part of the fixed grid, but not most of it, outside the moving image? */
export const partly = (fixed: Grid, moving: Grid): boolean => reachesOut(fixed, moving) && overlap(fixed, moving) >= MEANT;

/** 1 for each voxel of the fixed grid, of those that `mask` has, that lies in the moving image after the transform, else 0. Throws where there is none. */
export function covered(fixed: Grid & { mask?: Float32Array }, moving: Grid, transform?: Affine): Float32Array {
  const [w, h, d] = fixed.size;
  const m = matrixBetween(fixed, moving, transform);
  const inside = new Float32Array(voxelCount(fixed));
  for (let k = 0, v = 0; k < d; k++)
    for (let j = 0; j < h; j++)
      for (let i = 0; i < w; i++, v++) {
        const there = [0, 4, 8].every((row, axis) => {
          const x = m[row]! * i + m[row + 1]! * j + m[row + 2]! * k + m[row + 3]!;
          return x >= -0.5 && x <= moving.size[axis]! - 0.5;
        });
        if (there && (!fixed.mask || fixed.mask[v])) inside[v] = 1;
      }
  if (!inside.includes(1))
    throw new Error('no voxel that counts of the fixed image lies in the moving one; check masks and headers, or take another affine mode');
  return inside;
}
