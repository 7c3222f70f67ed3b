// Augmentation of a pair of images: random maps and intensities, traced into a training graph; their values are drawn on the CPU at each
// step. All lengths are in mm, so that one set of options serves every resolution.
import { type Graph, sameShape, show, type Tensor } from '../graph/graph.ts';
import type { Schedule } from '../graph/schedule.ts';
import { composeAffine } from '../io/affine.ts';
import {
  add,
  affineField,
  div,
  gaussian,
  intensityTransform,
  type Matrix,
  mean,
  mul,
  resample,
  scale,
  scaleChannels,
  sqrt,
  square,
  warp,
  warpNearest,
} from '../ops/index.ts';
import { gaussianField, SEEDS } from '../ops/noise.ts';
import { type AffineRange, type Augmentation, augmentationFault, type Triple } from './augment-options.ts';

/** Images [1, 1, D, H, W] with intensities of about 0…1, and label maps on the same grid. */
export interface ImagePair {
  fixed: Tensor;
  moving: Tensor;
  fixedLabels?: Tensor;
  movingLabels?: Tensor;
}

/** What changes from step to step: matrices [12], (γ, gain, offset, σ) [4], the deformation's RMS length in mm [1], seeds [1]. */
const shapes = {
  fixedMatrix: [12],
  movingMatrix: [12],
  deformationSeed: [1],
  deformationRms: [1],
  fixedIntensity: [4],
  movingIntensity: [4],
  fixedNoiseSeed: [1],
  movingNoiseSeed: [1],
} as const;
type ValueName = keyof typeof shapes;
export type AugmentationValues = Record<ValueName, Float32Array>;

export interface AugmentedPair extends ImagePair {
  /** To be filled before every step: `uploadAugmentation`. Only those that the options need. */
  inputs: Partial<Record<ValueName, Tensor>>;
  /** [1, 3, D, H, W] in voxels: each augmented image is its own, sampled at p + u(p). Missing where nothing moves. */
  displacements: { fixed?: Tensor; moving?: Tensor };
}

const isMoving = (range: AffineRange) => Object.values(range).some((x) => x > 0);

/**
 * Traces the augmentation of a pair into the phase being traced. Each image is interpolated once, trilinearly with the border clamped,
 * its labels by the nearest neighbour under the same map. `spacing`: mm along (W, H, D). With options that are all 0 the tensors
 * come back as they are.
 */
export function traceAugmentation(graph: Graph, pair: ImagePair, options: Augmentation, spacing: Triple): AugmentedPair {
  check(pair, options, spacing);
  const { flips, common, moving, deformation, intensity, mode } = options;
  const [, , d, h, w] = pair.fixed.shape as readonly [number, number, number, number, number];
  const inputs: AugmentedPair['inputs'] = {};
  const value = (name: ValueName) => (inputs[name] ??= graph.input(name, shapes[name]));

  const flipping = flips.some((p) => p > 0) || isMoving(common);
  const affine = (name: 'fixedMatrix' | 'movingMatrix') => affineField(value(name), [d, h, w]);
  const smooth =
    deformation.rms[1] > 0
      ? smoothField(value('deformationSeed'), value('deformationRms'), { size: [w, h, d], spacing, sigma: deformation.sigma })
      : undefined;
  const own = flipping || isMoving(moving) ? affine('movingMatrix') : undefined;
  const displacements = {
    fixed: flipping ? affine('fixedMatrix') : undefined,
    moving: own && smooth ? add(own, smooth) : (own ?? smooth),
  };

  const alters = Object.values(intensity).some((x) => x > 0);
  const augmented = (side: 'fixed' | 'moving', image: Tensor): Tensor => {
    const u = displacements[side];
    const warped = u ? warp(image, u) : image;
    if (!alters) return warped;
    const noise = intensity.noise > 0 ? gaussianField(value(`${side}NoiseSeed`), image.shape) : undefined;
    return intensityTransform(warped, value(`${side}Intensity`), noise);
  };
  const nearest = (side: 'fixed' | 'moving', labels: Tensor | undefined) => {
    const u = displacements[side];
    return labels && u ? warpNearest(labels, u) : labels;
  };
  const from = mode === 'synthetic' ? { moving: pair.fixed, movingLabels: pair.fixedLabels } : pair;
  return {
    fixed: augmented('fixed', pair.fixed),
    moving: augmented('moving', from.moving),
    fixedLabels: nearest('fixed', pair.fixedLabels),
    movingLabels: nearest('moving', from.movingLabels),
    inputs,
    displacements,
  };
}

/** Voxels of the noise's grid for a σ. */
const PER_SIGMA = 2;
/** How far that grid reaches beyond the volume on each side, in its voxels: farther in, its border is not felt. */
const MARGIN = 2 * PER_SIGMA;

/**
 * A displacement [1, 3, D, H, W] in voxels: normal noise smoothed by a Gaussian of `sigma` mm, scaled to an RMS length of `rms` mm. The
 * noise lies on a grid of its own, σ/2 fine whatever the resolution of the image, and is interpolated.
 */
function smoothField(
  seed: Tensor,
  rms: Tensor,
  { size: [w, h, d], spacing, sigma }: { size: Triple; spacing: Triple; sigma: number },
): Tensor {
  const step = sigma / PER_SIGMA; // mm
  const nodes = ([w, h, d] as const).map((n, axis) => Math.ceil(((n - 1) * spacing[axis]) / step) + 1 + 2 * MARGIN);
  const [fw, fh, fd] = spacing.map((s) => s / step) as [number, number, number];
  const matrix: Matrix = [fw, 0, 0, MARGIN, 0, fh, 0, MARGIN, 0, 0, fd, MARGIN];
  const field = resample(gaussian(gaussianField(seed, [1, 3, nodes[2], nodes[1], nodes[0]]), PER_SIGMA), [d, h, w], matrix);
  const length = sqrt(scale(mean(square(field)), 3)); // the mean is over three channels
  return scaleChannels(
    mul(field, div(rms, length)),
    spacing.map((s) => 1 / s),
  );
}

/**
 * Draws all values of one step, for volumes of `size` voxels of `spacing` mm along (W, H, D). It takes as many numbers from `random`
 * whatever the options. Same numbers, same augmentation, bit for bit.
 */
export function drawAugmentation(
  random: () => number,
  { flips, common, moving, deformation, intensity }: Augmentation,
  { size, spacing }: { size: Triple; spacing: Triple },
): AugmentationValues {
  const between = (low: number, high: number) => low + (high - low) * random();
  const seed = () => Float32Array.of(Math.floor(random() * SEEDS));
  const intensities = () => {
    const factor = (range: number) => (1 + range) ** between(-1, 1);
    const [gamma, gain] = [factor(intensity.gamma), factor(intensity.gain)];
    return Float32Array.of(gamma, gain, between(-intensity.offset, intensity.offset), between(0, intensity.noise));
  };
  const signs = flips.map((probability) => (random() < probability ? -1 : 1));
  const shared = drawMatrix(between, common, signs, size, spacing);
  const own = drawMatrix(between, moving, [1, 1, 1], size, spacing);
  return {
    fixedMatrix: Float32Array.from(shared),
    movingMatrix: Float32Array.from(composeAffine(shared, own)),
    deformationRms: Float32Array.of(between(...deformation.rms)),
    deformationSeed: seed(),
    fixedIntensity: intensities(),
    movingIntensity: intensities(),
    fixedNoiseSeed: seed(),
    movingNoiseSeed: seed(),
  };
}

/** Flip, scale, shear, rotation and translation about the centre, in this order, as a matrix from voxels to voxels. */
function drawMatrix(
  between: (low: number, high: number) => number,
  range: AffineRange,
  signs: readonly number[],
  size: Triple,
  spacing: Triple,
): Matrix {
  const three = (limit: number) => [0, 1, 2].map(() => between(-limit, limit)) as [number, number, number];
  const turns = three((range.rotation * Math.PI) / 180).map((angle) => [Math.cos(angle), Math.sin(angle)] as const);
  const [sw, sh, sd] = three(Math.log1p(range.scale)).map((x, axis) => signs[axis] * Math.exp(x)) as [number, number, number];
  const [hw, dw, dh] = three(range.shear);
  const translation = three(range.translation);
  const [[ca, sa], [cb, sb], [cc, sc]] = turns as [readonly [number, number], readonly [number, number], readonly [number, number]];
  const linear = [
    [1, 0, 0, 0, 0, ca, -sa, 0, 0, sa, ca, 0],
    [cb, 0, sb, 0, 0, 1, 0, 0, -sb, 0, cb, 0],
    [cc, -sc, 0, 0, sc, cc, 0, 0, 0, 0, 1, 0],
    [1, hw, dw, 0, 0, 1, dh, 0, 0, 0, 1, 0],
    [sw, 0, 0, 0, 0, sh, 0, 0, 0, 0, sd, 0],
  ].reduce((a, b) => [...composeAffine(a, b)]);
  return [0, 1, 2].flatMap((row) => {
    const [x, y, z] = [0, 1, 2].map((column) => (linear[4 * row + column] * spacing[column]) / spacing[row]) as [number, number, number];
    const centre = size.map((n) => (n - 1) / 2) as [number, number, number];
    return [x, y, z, centre[row] - (x * centre[0] + y * centre[1] + z * centre[2]) + translation[row] / spacing[row]];
  });
}

/** Uploads the values of a step to those inputs that the traced augmentation has. */
export function uploadAugmentation(schedule: Schedule, { inputs }: Pick<AugmentedPair, 'inputs'>, values: AugmentationValues): void {
  for (const [name, tensor] of Object.entries(inputs)) schedule.upload(tensor, values[name as ValueName]);
}

function check(pair: ImagePair, options: Augmentation, spacing: Triple): void {
  const { shape } = pair.fixed;
  if (shape.length !== 5 || shape[0] !== 1 || shape[1] !== 1)
    throw new Error(`traceAugmentation: images are [1, 1, D, H, W], got fixed ${show(shape)}`);
  for (const [name, tensor] of Object.entries(pair))
    if (tensor && !sameShape(tensor.shape, shape))
      throw new Error(`traceAugmentation: ${name} ${show(tensor.shape)} is not on the grid of fixed ${show(shape)}`);
  if (!spacing.every((mm) => Number.isFinite(mm) && mm > 0))
    throw new Error(`traceAugmentation: spacing must be above 0 mm, got ${JSON.stringify(spacing)}`);
  const fault = augmentationFault(options);
  if (fault) throw new Error(`traceAugmentation: ${fault}`);
}
