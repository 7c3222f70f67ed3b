// Do two volumes share space? Before hours are spent on two that do not.
import { applyAffine, voxelToVoxel } from '../io/affine.ts';
import type { Grid } from '../io/volume.ts';

/** Fraction of the fixed grid's voxels (sampled) whose place in space lies inside the moving grid. */
export function overlap(fixed: Grid, moving: Grid): number {
  const toMoving = voxelToVoxel(fixed.affine, moving.affine);
  const SAMPLES = 12;
  let inside = 0;
  for (let k = 0; k < SAMPLES; k++) {
    for (let j = 0; j < SAMPLES; j++) {
      for (let i = 0; i < SAMPLES; i++) {
        const p = [i, j, k].map((s, axis) => ((s + 0.5) / SAMPLES) * fixed.size[axis]! - 0.5);
        if (applyAffine(toMoving, p).every((x, axis) => x >= -0.5 && x <= moving.size[axis]! - 0.5)) inside++;
      }
    }
  }
  return inside / SAMPLES ** 3;
}

/** Throws when less than a twentieth of the fixed volume lies inside the moving one. */
export function checkOverlap(fixed: Grid, moving: Grid): void {
  const share = overlap(fixed, moving);
  if (share < 0.05) {
    throw new Error(
      `the volumes do not overlap: ${(100 * share).toFixed(0)} % of the fixed grid lies inside the moving one; check the headers' affines (sform/qform)`,
    );
  }
}
