// Any method's displacement in the project's conventions, and the figures of it: one implementation for all.
import type { Inputs } from '../../src/cli/inputs.ts';
import { accuracy, labelsWarpedBy } from '../../src/cli/metrics.ts';
import { applyAffine, voxelToVoxel } from '../../src/io/affine.ts';
import { convertDisplacement, displacementForms, type DisplacementForm } from '../../src/io/displacement.ts';
import { readDisplacement } from '../../src/io/files.ts';
import { type Grid, sameGrid, type Volume, voxelCount } from '../../src/io/volume.ts';
import { nonDiffeomorphicPercent } from '../../src/register/diffeomorphic.ts';
import { jacobianStats, tre as targetError } from '../../src/register/metrics.ts';

/**
 * A displacement file in any of the `displacementForms`, told apart by their headers, as [3, D, H, W] in voxels of the fixed grid.
 * Throws when the file's grid is not the fixed image's.
 */
export async function readField(path: string, fixed: Grid): Promise<Float32Array> {
  const refused: string[] = [];
  for (const form of Object.keys(displacementForms) as DisplacementForm[]) {
    const field = await readDisplacement(path, form).catch((error: Error) => {
      if (!error.message.includes('not a displacement field')) throw error;
      refused.push(error.message);
    });
    if (!field) continue;
    if (!sameGrid(field, fixed)) throw new Error(`${path}: its grid is not that of the fixed image`);
    return convertDisplacement(field.data, fixed, form, 'learn2reg');
  }
  throw new Error(refused[0]);
}

/**
 * Dice 0…1, HD95 and TRE in mm, folds and NDV in %, SDlogJ and Learn2Reg's figure for it inside the fixed labels; what the pair has nothing
 * to measure by is missing.
 */
export interface Figures {
  diceBefore?: number;
  dice?: number;
  hd95?: number;
  treBefore?: number;
  tre?: number;
  /** Over the landmarks. */
  treBeforeSd?: number;
  treSd?: number;
  folds: number;
  /** Non-diffeomorphic volume, %. */
  ndv: number;
  sdLogJ: number;
  sdLogJLearn2Reg: number;
}

/** Everything about a displacement u [3, D, H, W] in voxels of the fixed grid. */
export function figuresOf(inputs: Inputs, u: Float32Array): Figures {
  const bad = u.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new Error(`displacement: value ${bad} is ${u[bad]}`);
  const { fixed, moving, segmentation, landmarks } = inputs;
  const { dice, hd95, tre } = accuracy(inputs, u, labelsWarpedBy(u, inputs));
  const spread = (field: Float32Array | null) =>
    landmarks && targetError(landmarks, field, fixed.size, voxelToVoxel(fixed.affine, moving.affine), moving).sd;
  const inside = segmentation?.fixed.data;
  const { grid, mask = grid } = jacobianStats(u, fixed.size, inside);
  return {
    diceBefore: dice?.before,
    dice: dice?.mean,
    hd95: hd95?.mean,
    treBefore: tre?.before,
    tre: tre?.after,
    treBeforeSd: spread(null),
    treSd: spread(u),
    folds: mask.foldingPercent,
    ndv: nonDiffeomorphicPercent(u, fixed.size, inside),
    sdLogJ: mask.sdLogJ,
    sdLogJLearn2Reg: mask.sdLogJLearn2Reg,
  };
}

/** How far two images lie apart, in % of the range of the first. */
export interface Difference {
  mean: number;
  max: number;
}

/** That the field which is measured is the peer's: what the peer warps itself, against ours through that field. */
export interface Proof {
  image: Difference;
  /** Dice of the labels that the peer warps, and that we do. */
  theirDice?: number;
  ourDice?: number;
  /** Largest difference, mm, of the peer's field from its transform as `fieldOf` evaluates it. */
  evaluatedMm?: number;
}

/** A peer's own warped image against the moving image sampled linearly through its field u, where that leads into the moving grid. */
export function warpedDifference(peer: Volume, u: Float32Array, fixed: Grid, moving: Volume): Difference {
  const [w, h, d] = fixed.size,
    n = voxelCount(fixed),
    [mw, mh] = moving.size;
  const toMoving = voxelToVoxel(fixed.affine, moving.affine);
  const m = moving.data;
  let sum = 0,
    count = 0,
    max = 0,
    low = Infinity,
    high = -Infinity;
  for (let k = 0, p = 0; k < d; k++)
    for (let j = 0; j < h; j++)
      for (let i = 0; i < w; i++, p++) {
        const at = applyAffine(toMoving, [i + u[p], j + u[n + p], k + u[2 * n + p]]);
        if (!at.every((x, axis) => x >= 0 && x <= moving.size[axis] - 1)) continue;
        const [[a, s], [b, t], [c, r]] = at.map((x, axis) => {
          const from = Math.min(Math.floor(x), Math.max(0, moving.size[axis] - 2));
          return [from, x - from];
        }) as [[number, number], [number, number], [number, number]];
        const value = (x: number, y: number, z: number) =>
          m[(Math.min(z, moving.size[2] - 1) * mh + Math.min(y, mh - 1)) * mw + Math.min(x, mw - 1)];
        const row = (y: number, z: number) => value(a, y, z) * (1 - s) + value(a + 1, y, z) * s;
        const plane = (z: number) => row(b, z) * (1 - t) + row(b + 1, z) * t;
        const theirs = peer.data[p],
          difference = Math.abs(plane(c) * (1 - r) + plane(c + 1) * r - theirs);
        sum += difference;
        count++;
        if (difference > max) max = difference;
        if (theirs < low) low = theirs;
        if (theirs > high) high = theirs;
      }
  const percent = 100 / (high - low);
  return { mean: (sum / count) * percent, max: max * percent };
}
