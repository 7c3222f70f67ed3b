// Validation: trained weights register pairs that were not trained on, as a user would, and are measured by what the pairs come with.
import type { Gpu } from '../gpu/device.ts';
import { type Affine, voxelToVoxel } from '../io/affine.ts';
import type { Landmarks } from '../io/landmarks.ts';
import type { MaskedVolume, Volume } from '../io/volume.ts';
import type { Model } from '../models/cells.ts';
import { dice, jacobianStats, tre, warpLabels } from '../register/metrics.ts';
import { register } from '../register/register.ts';
import type { Score } from './checkpoint.ts';

export interface ValidationPair {
  name: string;
  fixed: MaskedVolume;
  moving: MaskedVolume;
  /** Label maps on the grids of their images, and the labels that count. */
  segmentation?: { fixed: Volume; moving: Volume; labels: readonly number[] };
  landmarks?: Landmarks;
  /** Where its registration starts, RAS mm. */
  initial?: Affine;
}

/**
 * Means over the pairs: `dice` where there are labels, `tre` in mm where there are landmarks, `lncc`, `foldingPercent` and `sdLogJ` (inside
 * the mask or the labels, or else everywhere), `residual` of the finest level in voxels. The score is Dice, or else −TRE, or else LNCC.
 */
export async function validatePairs(
  gpu: Gpu,
  model: Model,
  pairs: readonly ValidationPair[],
  levels: readonly number[],
): Promise<Pick<Score, 'score' | 'figures'>> {
  const sums: Record<string, number[]> = {};
  const note = (name: string, value: number) => (sums[name] ??= []).push(value);
  for (const { fixed, moving, segmentation, landmarks, initial } of pairs) {
    const done = await register(gpu, fixed, moving, { method: 'deq', model, levels, initial });
    const { displacement: u } = done;
    const toMoving = voxelToVoxel(fixed.affine, moving.affine);
    if (segmentation) {
      const warped = warpLabels(segmentation.moving.data, moving.size, u, fixed.size, toMoving);
      note('dice', dice(segmentation.fixed.data, warped, segmentation.labels).mean);
    }
    if (landmarks) note('tre', tre(landmarks, u, fixed.size, toMoving, moving).mean);
    const inside = fixed.mask ?? segmentation?.fixed.data;
    const { grid, mask = grid } = jacobianStats(u, fixed.size, inside);
    note('foldingPercent', mask.foldingPercent);
    note('sdLogJ', mask.sdLogJ);
    note('lncc', done.similarity.after);
    note('residual', done.levels.at(-1)!.residual);
  }
  const figures = Object.fromEntries(
    Object.entries(sums).map(([name, values]) => [name, values.reduce((a, b) => a + b, 0) / values.length]),
  );
  return { score: figures.dice ?? (figures.tre === undefined ? figures.lncc : -figures.tre), figures };
}
