// One training step of a learned cell on one pair, on one level or coarse to fine: forward solve, loss and backward on each level, Adam.
// Traced once, run many times.
import { type Adjoint, type Deq, deq, type DeqOutcome, runDeq } from '../deq/deq.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import type { Schedule } from '../graph/schedule.ts';
import { voxelSpacing } from '../io/affine.ts';
import { checkGeometry, type Grid, voxelCount } from '../io/volume.ts';
import type { Cell, CellOptions, LevelImages } from '../models/cell.ts';
import { cells } from '../models/cells.ts';
import {
  adam,
  type AdamState,
  adamState,
  add,
  assign,
  axpby,
  centre,
  diffusion,
  ema,
  gradientClip,
  identity,
  lncc,
  localStatistics,
  mse,
  mul,
  neg,
  oneHot,
  resetAdam,
  resize,
  scale,
  softDice,
  warp,
  warpWithGradient,
  withGradient,
} from '../ops/index.ts';
import { type Level, levelGrid, levelSpacing, resizeDisplacement, shapeOf, spacingRatios } from '../register/pyramid.ts';
import { type AugmentationValues, type AugmentedPair, traceAugmentation, uploadAugmentation } from './augment.ts';
import type { Augmentation } from './augment-options.ts';

const PHANTOM = { steps: 5, damping: 0.5 };
/** A solve ends at a residual of this share of the value and its tolerance in voxels together, or at its step budget. */
const RTOL = 1e-3;

/**
 * The loss of a level: −LNCC (or the mean squared error) + diffusion · ‖∇u‖² + dice · (1 − soft Dice), Dice where both images have labels.
 */
export interface LossOptions {
  similarity: 'lncc' | 'mse';
  diffusion: number;
  dice: number;
}

export interface TrainingStepOptions extends CellOptions {
  /** The grid of the images: that of the finest level. */
  grid: Grid;
  /** Its name among `cells`. */
  cell: string;
  adjoint: Adjoint;
  /** Coarsening of each level, coarse to fine, the last one 1 (default: one level). Each starts from the result of the one before. */
  levels?: readonly number[];
  /** Width of the LNCC window, in voxels of each level, in the loss and in the cell's force. Default 5. */
  window?: number;
  /** Diffusion regularisation a step, in voxel² of each level's finest axis; default: the cell's own. */
  lambda?: readonly number[];
  /** Default: LNCC, diffusion 1, dice 0. */
  loss?: LossOptions;
  /** The labels whose Dice counts; needed where `loss.dice` is above 0. */
  labels?: readonly number[];
  /** Left out: the images as they are. */
  augmentation?: Augmentation;
  /** Past values that Anderson's iteration mixes, in the forward and in the adjoint solve; 1 … 8. Default 5. */
  history?: number;
  /** Largest joint norm of the gradients; larger ones are scaled down. Default 1. */
  clip?: number;
  /** Decay of the weights' moving average. Default 0.99. */
  averaging?: number;
}

/** A level of a step: its grid, its node, and what its loss is made of, [1] each; `similarity` is LNCC or −MSE. */
export interface TrainingLevel {
  grid: Level;
  node: Deq;
  /** What loss and gradients of the node are multiplied by: with f16 its voxels, so that a mean's gradients do not vanish in its range. */
  lossScale: number;
  similarity: Tensor;
  dice?: Tensor;
}

/** A traced step. `optimizer` and `averages` go with `cell.parameters`, in their order. */
export interface TrainingStep {
  graph: Graph;
  cell: Cell;
  inputs: { fixed: Tensor; moving: Tensor; rate: Tensor; fixedLabels?: Tensor; movingLabels?: Tensor; labelled?: Tensor };
  augmented?: Pick<AugmentedPair, 'inputs'>;
  levels: TrainingLevel[];
  optimizer: AdamState[];
  averages: Tensor[];
  /** [factor, norm] of the gradients, as `gradientClip` gives them. */
  clip: Tensor;
}

/** An adjoint by its name; `steps` is the length of `checkpointed` and `unrolled`. */
export function adjointOf(name: Adjoint['adjoint'], steps: number): Adjoint {
  if (name === 'phantom') return { adjoint: name, ...PHANTOM };
  return name === 'checkpointed' || name === 'unrolled' ? { adjoint: name, steps } : { adjoint: name };
}

/** A grid of 1 mm voxels along W, H, D, for images that come without one. */
export const unitGrid = (size: readonly [number, number, number]): Grid => ({
  size: [...size],
  affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
});

/** Traces a step on a pair of images: on each level Anderson, the loss of f(z*) and its gradient; the sum of all moves Adam. */
export function traceTrainingStep(options: TrainingStepOptions): TrainingStep {
  const {
    grid,
    cell: name,
    adjoint,
    levels: factors = [1],
    window = 5,
    loss: weigh = { similarity: 'lncc', diffusion: 1, dice: 0 },
    labels,
  } = options;
  if (!Object.hasOwn(cells, name)) throw new Error(`traceTrainingStep: cell ${name} is none of ${Object.keys(cells).join(', ')}`);
  if (factors.at(-1) !== 1 || factors.some((f, i) => !Number.isInteger(Math.log2(f)) || (i > 0 && f >= factors[i - 1])))
    throw new Error(`traceTrainingStep: levels must be powers of two from coarse to 1, got ${factors.join(', ')}`);
  checkGeometry('traceTrainingStep: grid', grid);
  if (weigh.similarity !== 'lncc' && weigh.similarity !== 'mse')
    throw new Error(`traceTrainingStep: loss.similarity must be lncc or mse, got ${weigh.similarity}`);
  if (options.lambda && options.lambda.length !== factors.length)
    throw new Error(`traceTrainingStep: lambda has ${options.lambda.length} values for ${factors.length} levels`);
  if (weigh.dice > 0 && !labels?.length) throw new Error('traceTrainingStep: loss.dice is above 0, but there are no labels');
  const graph = new Graph();
  const shape = [1, 1, ...shapeOf(grid)];
  const overlap = weigh.dice > 0 ? { fixedLabels: shape, movingLabels: shape, labelled: [1] } : {};
  const inputs = Object.fromEntries(
    Object.entries({ fixed: shape, moving: shape, rate: [1], ...overlap }).map(([label, shape]) => [label, graph.input(label, shape)]),
  ) as unknown as TrainingStep['inputs'];
  const cell = cells[name](graph, options);
  const weights = [...cell.parameters.tensors.values()];
  const grids = factors.map((factor) => levelGrid(grid, levelSpacing(grid, factor)));

  const { augmented, scales } = graph.phase('images', () => {
    const { rate: _, labelled: __, ...pair } = inputs;
    const augmented = options.augmentation && traceAugmentation(graph, pair, options.augmentation, voxelSpacing(grid.affine));
    const { fixed, moving, fixedLabels, movingLabels } = augmented ?? pair;
    const maps = labels && fixedLabels && movingLabels && { fixed: oneHot(fixedLabels, labels), moving: oneHot(movingLabels, labels) };
    const scales = grids.map((grid, i) => {
      const at = (x: Tensor) => resize(x, shapeOf(grid));
      const images = { fixed: at(fixed), moving: at(moving) };
      const level: LevelImages = {
        fixed: localStatistics(images.fixed, window),
        moving: withGradient(centre(images.moving)),
        matrix: identity,
        ratios: spacingRatios(grid),
        lambda: options.lambda?.[i],
      };
      return { level, images, maps: maps && { fixed: at(maps.fixed), moving: at(maps.moving) } };
    });
    return { augmented, scales };
  });

  const levels: TrainingLevel[] = [];
  scales.forEach(({ level, images, maps }, i) => {
    const coarser = levels[i - 1];
    const lossScale = options.dtype === 'f16' ? voxelCount(grids[i]) : 1;
    const terms: { similarity?: Tensor; dice?: Tensor } = {};
    const node = deq(graph, `level ${factors[i]}`, {
      cell: cell.update(level),
      shape: [1, 3, ...shapeOf(grids[i])],
      initial: coarser && (() => resizeDisplacement(coarser.node.y, coarser.grid, grids[i])),
      adjoint,
      wrt: weights,
      method: { method: 'anderson', window: options.history ?? 5 }, // undamped, as what is in bench/results/training.md
      passing: true,
      loss: (u) => {
        const similarity = graph.output(
          weigh.similarity === 'mse'
            ? neg(mse(images.fixed, warp(images.moving, u)))
            : lncc(level.fixed, warpWithGradient(level.moving, u).warped, window),
        );
        const loss = axpby(-lossScale, similarity, lossScale * weigh.diffusion, diffusion(u, level.ratios));
        terms.similarity = similarity;
        if (!maps) return loss;
        terms.dice = graph.output(softDice(maps.fixed, warp(maps.moving, u)));
        return axpby(1, loss, lossScale * weigh.dice, mul(terms.dice, inputs.labelled!));
      },
    });
    levels.push({ grid: grids[i], node, lossScale, similarity: terms.similarity!, dice: terms.dice });
  });

  const optimizer = weights.map((t) => adamState(t));
  const averages = weights.map((t) => graph.output(graph.variable(`${t.label}.average`, t.shape, 'optimizer', { persistent: true })));
  for (const { first, second, corrections } of optimizer) [first, second, corrections].forEach((t) => graph.output(t));
  graph.phase('begin', () => {
    optimizer.forEach(resetAdam);
    averages.forEach((average, i) => assign(average, weights[i]));
  });
  const clip = graph.phase('update', () => {
    const gradients = weights.map((_, i) =>
      levels
        .map(({ node, lossScale }) => (lossScale === 1 ? node.gradients[i] : scale(node.gradients[i], 1 / lossScale)))
        .reduce((a, b) => add(a, b)),
    );
    const clip = graph.output(gradientClip(gradients, options.clip ?? 1));
    optimizer.forEach((state, i) => adam(state, gradients[i], { rate: inputs.rate, clip }));
    averages.forEach((average, i) => ema(average, weights[i], options.averaging ?? 0.99));
    return clip;
  });
  return { graph, cell, inputs, augmented, levels, optimizer, averages, clip };
}

/** Sets the weights to the initial values of a seed, and Adam and the averages to their start. */
export function beginTraining(schedule: Schedule, { cell: { parameters } }: TrainingStep, seed: number): void {
  parameters.upload(schedule, parameters.initial(seed));
  schedule.run('begin');
}

/** What a step is run on: images [D, H, W], of intensities in 0…1, and where both have them their label maps. */
export interface TrainingPair {
  fixed: Float32Array;
  moving: Float32Array;
  labels?: { fixed: Float32Array; moving: Float32Array };
  /** Where an augmentation is traced. */
  augmentation?: AugmentationValues;
}

export interface TrainingRun {
  /** Adam's rate. */
  rate: number;
  /** Bounds the forward and the backward solve alike. */
  maxIterations: number;
  /** A forward solve ends at this RMS residual, in voxels of its level. Default 0. */
  tolerance?: number;
}

/** How a step went; losses are those of the weights before it. `dice` and `similarity` are of the finest level. */
export interface TrainingOutcome {
  loss: number;
  similarity: number;
  /** 1 − soft Dice of the labels, where the pair has them. */
  dice?: number;
  /** Joint norm of the gradients, before clipping. */
  gradientNorm: number;
  levels: (DeqOutcome & { loss: number })[];
}

/** Runs one step on a pair and waits for it. */
export async function runTrainingStep(
  schedule: Schedule,
  { inputs, augmented, levels, clip }: TrainingStep,
  pair: TrainingPair,
  { rate, maxIterations, tolerance = 0 }: TrainingRun,
): Promise<TrainingOutcome> {
  schedule.upload(inputs.fixed, pair.fixed); // before every step: inputs give their memory to later phases
  schedule.upload(inputs.moving, pair.moving);
  schedule.upload(inputs.rate, Float32Array.of(rate));
  if (inputs.labelled) {
    const none = pair.labels ? undefined : new Float32Array(pair.fixed.length);
    schedule.upload(inputs.fixedLabels!, pair.labels?.fixed ?? none!);
    schedule.upload(inputs.movingLabels!, pair.labels?.moving ?? none!);
    schedule.upload(inputs.labelled, Float32Array.of(pair.labels ? 1 : 0));
  }
  if (augmented) uploadAugmentation(schedule, augmented, pair.augmentation!);
  schedule.run('images');
  const forward = { maxIterations, rtol: RTOL, atol: tolerance, patience: maxIterations, divergence: Infinity };
  const outcomes: DeqOutcome[] = [];
  for (const { node } of levels) outcomes.push(await runDeq(schedule, node, { forward, backward: { ...forward, atol: 0 } }));
  const finest = levels.at(-1)!;
  const reads = [clip, finest.similarity, ...(finest.dice ? [finest.dice] : []), ...levels.map(({ node }) => node.loss)];
  const [[, gradientNorm], [similarity], ...rest] = (await schedule.runAndRead('update', reads)) as [Float32Array, Float32Array];
  const values = (rest as Float32Array[]).map(([value]) => value);
  const dice = finest.dice && values.shift();
  const losses = values.map((loss, i) => loss / levels[i].lossScale);
  return {
    loss: losses.reduce((a, b) => a + b) / losses.length,
    similarity,
    dice: pair.labels && dice,
    gradientNorm,
    levels: outcomes.map((outcome, i) => ({ ...outcome, loss: losses[i] })),
  };
}
