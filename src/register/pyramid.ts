// The levels of a coarse-to-fine registration: which grid each one solves on.
import type { Tensor } from '../graph/graph.ts';
import { LEAST_BINDING } from '../graph/plan.ts';
import { type Affine, composeAffine, identityAffine, type Vec3, voxelSpacing, voxelToVoxel } from '../io/affine.ts';
import { type Grid, sameGrid, voxelCount } from '../io/volume.ts';
import { identity, type Matrix, resize, scaleChannels } from '../ops/index.ts';

/** A level's grid over the whole field of view of a finer one, of whose voxels one of its own is `scale` along (w, h, d). */
export interface Level extends Grid {
  scale: Vec3;
}

/** By default the finest level is on at most this many voxels (a 128³ grid). */
const FINEST_VOXELS = 2 ** 21;
/** An axis is not halved below this many voxels. */
const LEAST = 9;

/**
 * The grid of a level: the volume's, with its voxels joined up to `spacing` mm. The finest axes are coarsened first, and an
 * axis whose spacing is as coarse already (thick slices), or that would fall below 9 voxels, keeps its voxels.
 */
export function levelGrid({ size, affine }: Grid, spacing: number): Level {
  const own = voxelSpacing(affine);
  const coarse = size.map((n, axis) => {
    let f = 1;
    while (2 * f * own[axis] <= 1.01 * spacing && n / (2 * f) >= LEAST) f *= 2;
    return Math.ceil(n / f);
  }) as Vec3;
  const scale = coarse.map((n, axis) => size[axis] / n) as Vec3;
  // Both cover the same space: the middle of a voxel is (i + ½)·s − ½ of the finer grid's.
  const toFine = [scale[0], 0, 0, (scale[0] - 1) / 2, 0, scale[1], 0, (scale[1] - 1) / 2, 0, 0, scale[2], (scale[2] - 1) / 2];
  return { size: coarse, affine: composeAffine(affine, toFine), scale };
}

/** Millimetres that a level's factor means: that many of the finest spacing of the fixed grid. */
export const levelSpacing = (fixed: Grid, factor: number): number => factor * Math.min(...voxelSpacing(fixed.affine));

/** Default factors, coarse to fine: f·4, f·2, f with the smallest f (a power of two) whose grid has at most 2²¹ voxels. */
export function defaultLevels(fixed: Grid): number[] {
  let finest = 1;
  while (voxelCount(levelAt(fixed, finest)) > FINEST_VOXELS) finest *= 2;
  return [4 * finest, 2 * finest, finest];
}

/** A level's place among the default ones, 0 for the coarsest and above, 2 for the finest and below. */
export const placeOf = (fixed: Grid, factor: number): number => Math.max(0, Math.min(2 + Math.log2(defaultLevels(fixed)[2] / factor), 2));

/**
 * Where a registration that ends on level `finest` is refined: at twice its resolution, where the image has it and every adapter can bind
 * the buffers (8 million voxels), else on that level.
 */
export const refinedLevel = (fixed: Grid, finest: number): number =>
  finest > 1 && largestBuffer(levelAt(fixed, finest / 2)) <= LEAST_BINDING ? finest / 2 : finest;

const levelAt = (fixed: Grid, factor: number): Level => levelGrid(fixed, levelSpacing(fixed, factor));

/** Of a level, bytes: the moving image with its gradient, or LNCC's three fields with half a window of 11 on every axis. */
const largestBuffer = (level: Level): number =>
  Math.max(16 * voxelCount(level), 12 * level.size.reduce((product, n) => product * (n + 5), 1));

/**
 * The grid that a level holds the moving image on: its own, or where that is too large, with the image's gradient, for a buffer that every
 * adapter binds, the fixed level's where the transform puts it, with as wide a margin as can be held.
 */
export function heldGrid(moving: Level, fixed: Level, transform: Affine = identityAffine): Grid {
  const held = (size: readonly number[]) => 16 * size.reduce((a, b) => a * b) <= LEAST_BINDING;
  const wider = (margin: number) => fixed.size.map((n) => n + 2 * margin) as Vec3;
  if (held(moving.size) || !held(fixed.size)) return moving;
  let m = 0;
  while (held(wider(m + 1))) m++;
  return { size: wider(m), affine: composeAffine(transform, composeAffine(fixed.affine, [1, 0, 0, -m, 0, 1, 0, -m, 0, 0, 1, -m])) };
}

/** A grid's voxels as a tensor has them, [D, H, W]. */
export const shapeOf = ({ size: [w, h, d] }: Grid): [number, number, number] => [d, h, w];

/** Voxels of one grid → those of another, by way of a transform between their spaces (RAS mm), where there is one. */
export const matrixBetween = (from: Grid, to: Grid, transform?: Affine): Matrix =>
  !transform && sameGrid(from, to) ? identity : voxelToVoxel(transform ? composeAffine(transform, from.affine) : from.affine, to.affine);

/** Finest spacing / spacing along each axis. */
export function spacingRatios({ affine }: Grid): [number, number, number] {
  const spacing = voxelSpacing(affine);
  return spacing.map((s) => Math.min(...spacing) / s) as [number, number, number];
}

/** A displacement on another level's grid, in that grid's voxels. */
export const resizeDisplacement = (u: Tensor, from: Level, to: Level): Tensor =>
  scaleChannels(
    resize(u, shapeOf(to)),
    from.scale.map((s, axis) => s / to.scale[axis]),
  );
