// metrics.json: what a registration reached, what it took, and how it was made.
import { version } from '../../package.json';
import type { AdapterInfo } from '../gpu/device.ts';
import { voxelSpacing, voxelToVoxel } from '../io/affine.ts';
import type { Landmarks } from '../io/landmarks.ts';
import { sameGrid } from '../io/volume.ts';
import { nonDiffeomorphicPercent } from '../register/diffeomorphic.ts';
import type { InverseOutcome } from '../register/fields.ts';
import { dice, hd95, jacobianDeterminants, maskedStats, type TargetError, tre, warpLabels } from '../register/metrics.ts';
import type { Registration } from '../register/register.ts';
import type { Inputs } from './inputs.ts';
import type { ModelNote } from './models.ts';

/** Share of the intensity window above which a voxel of the fixed image is foreground. */
const FOREGROUND = 0.05;

/** How good a registration is; computed on the CPU. Dice has no unit, HD95 and TRE are in mm. */
export function quality(
  inputs: Inputs,
  { displacement: u, intensities, similarity }: Registration,
  warpedLabels?: Float32Array,
  determinants = jacobianDeterminants(u, inputs.fixed.size),
) {
  return { ...accuracy(inputs, u, warpedLabels), ...regularity(u, determinants, inputs, intensities.fixed), similarity };
}

/** Labels that overlap less than this after a registration are of something else. */
const LOST = 0.05;
/** Of the region, %: where more is folded, that is more than a few voxels. */
const FOLDED = 0.1;

interface Change {
  before: number;
}

/** What of the figures speaks against the result, a sentence each. */
export function speaksAgainst({
  dice,
  tre,
  region,
  ndvPercent,
  foldingPercent,
}: {
  dice?: Change & { mean: number };
  tre?: Change & { after: number };
  region?: string;
  ndvPercent?: number;
  foldingPercent?: number;
}): string[] {
  const [name, folded] = Number.isFinite(ndvPercent) ? ['NDV', ndvPercent!] : ['folds', foldingPercent ?? 0]; // NDV: none of a single slice
  return [
    ...(folded > FOLDED ? [`the displacement folds: ${name} ${folded.toFixed(2)} % of the ${region}; a larger lambda smooths it`] : []),
    ...(dice && dice.mean < LOST
      ? [`the labels hardly overlap: Dice ${dice.mean.toFixed(3)} on average; are these label maps, and of these images?`]
      : dice && dice.mean < dice.before
        ? [`the labels overlap less than before: Dice ${dice.before.toFixed(3)} → ${dice.mean.toFixed(3)}`]
        : []),
    ...(tre && tre.after > tre.before
      ? [`the landmarks are farther apart than before: TRE ${tre.before.toFixed(2)} → ${tre.after.toFixed(2)} mm`]
      : []),
  ];
}

/** What speaks against an inverse, a sentence at most. */
export const noInverse = ({ unsolvedPercent, voxels }: InverseOutcome): string[] =>
  voxels.mean <= 1
    ? []
    : [
        `there is no inverse: ${unsolvedPercent.toFixed(0)} % of its voxels unsolved, ${voxels.mean.toFixed(1)} voxels off on average; the displacement may fold, or map far beyond its grid`,
      ];

/** The part that labels and landmarks measure, for any displacement u [3, D, H, W] in voxels of the fixed grid. */
export function accuracy(inputs: Inputs, u: Float32Array, warpedLabels?: Float32Array) {
  const { fixed, moving, segmentation, landmarks } = inputs;
  const toMoving = voxelToVoxel(fixed.affine, moving.affine);
  return {
    ...(segmentation && warpedLabels && overlaps(segmentation, warpedLabels)),
    ...(landmarks && { tre: errors(landmarks, (u) => tre(landmarks, u, fixed.size, toMoving, moving), u) }),
  };
}

/** Mean, spread and worst of the landmarks, and each of them, before and after. */
function errors({ names }: Landmarks, of: (u: Float32Array | null) => TargetError, u: Float32Array) {
  const [before, after] = [of(null), of(u)];
  const perLandmark = Array.from(after.perLandmark, (error, n) => ({
    name: names?.[n] ?? String(n + 1),
    before: before.perLandmark[n],
    after: error,
  }));
  return { before: before.mean, beforeSd: before.sd, after: after.mean, afterSd: after.sd, afterMax: after.max, perLandmark };
}

/** The moving labels on the fixed grid, where there are labels. */
export function labelsWarpedBy(displacement: Float32Array, { fixed, moving, movingLabels }: Inputs): Float32Array | undefined {
  const toMoving = voxelToVoxel(fixed.affine, moving.affine);
  return movingLabels && warpLabels(movingLabels.data, moving.size, displacement, fixed.size, toMoving);
}

function overlaps({ fixed, moving, labels }: NonNullable<Inputs['segmentation']>, warped: Float32Array) {
  const still = () => new Float32Array(3 * fixed.data.length);
  const unmoved = sameGrid(fixed, moving)
    ? moving.data
    : warpLabels(moving.data, moving.size, still(), fixed.size, voxelToVoxel(fixed.affine, moving.affine));
  const before = dice(fixed.data, unmoved, labels);
  const { mean, perLabel } = dice(fixed.data, warped, labels);
  return {
    dice: { mean, before: before.mean, perLabel, perLabelBefore: before.perLabel },
    hd95: hd95(fixed.data, warped, labels, fixed.size, voxelSpacing(fixed.affine)),
  };
}

/**
 * Of any displacement u in voxels of the fixed grid: folds, non-diffeomorphic volume and spread of the Jacobian inside the fixed mask, or
 * else the fixed labels, or else the foreground; and in the whole grid.
 */
export function regularity(
  u: Float32Array,
  determinants: Float32Array,
  { fixed, segmentation }: Inputs,
  { low, high }: { low: number; high: number },
) {
  const threshold = low + FOREGROUND * (high - low);
  const inside = fixed.mask ?? segmentation?.fixed.data ?? fixed.data.map((value) => Number(value > threshold));
  const { mask, grid } = maskedStats(determinants, inside);
  const { foldingPercent, sdLogJ, sdLogJLearn2Reg } = mask;
  return {
    region: fixed.mask ? 'fixed mask' : segmentation ? 'fixed labels' : 'fixed foreground',
    foldingPercent,
    ndvPercent: nonDiffeomorphicPercent(u, fixed.size, inside),
    sdLogJ,
    sdLogJLearn2Reg,
    grid: { foldingPercent: grid.foldingPercent, sdLogJ: grid.sdLogJ, sdLogJLearn2Reg: grid.sdLogJLearn2Reg },
  };
}

export interface Seconds {
  read: number;
  affine: number;
  prepare: number;
  solve: number;
  invert?: number;
  metrics: number;
  write: number;
  total: number;
}

/** The content of metrics.json. A number that does not exist, such as the HD95 of a label lost by the warp, is null. */
export function report(
  inputs: Inputs,
  registration: Registration,
  figures: ReturnType<typeof quality>,
  adapter: AdapterInfo,
  seconds: Seconds,
  inverse?: InverseOutcome,
  model?: ModelNote,
) {
  const { levels, affine, coverage, options, intensities, memory } = registration;
  return {
    ...figures,
    ...(inverse && { inverse }),
    affine,
    coverage,
    solver: { method: options.method, levels },
    ...(model && { model }),
    seconds,
    memory,
    adapter,
    version,
    options: { ...options, ...(inputs.segmentation && { labels: inputs.segmentation.labels }) },
    intensities,
    inputs: inputs.paths,
    warnings: [...inputs.warnings, ...registration.warnings, ...(inverse ? noInverse(inverse) : []), ...speaksAgainst(figures)],
  };
}
export type Report = ReturnType<typeof report>;
