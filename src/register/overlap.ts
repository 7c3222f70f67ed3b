// Do two volumes share space? Before hours are spent on two that do not.
import { applyAffine, voxelToVoxel } from '../io/affine.ts';
import type { Grid } from '../io/volume.ts';

/** Fraction of a grid's voxels (sampled) whose place in space lies inside another grid. */
export function overlap(grid: Grid, other: Grid): number {
  const toOther = voxelToVoxel(grid.affine, other.affine);
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
