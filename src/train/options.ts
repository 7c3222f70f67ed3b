// Options of a training run: their defaults, and what is refused.
import { type Adjoint, adjoints } from '../deq/problem.ts';
import { checkOptions } from '../graph/options.ts';
import { type SimilarityJacobian, similarityJacobians } from '../models/cell.ts';
import { cells, type Model } from '../models/cells.ts';
import { type Augmentation, augmentationFault, augmentations, synthetic } from './augment-options.ts';
import { cosineRate, linearWarmUp, type LearningRate } from './learning-rate.ts';
import type { LossOptions } from './step.ts';

/** Some steps on a pyramid of these levels: coarsening in multiples of the finest spacing, coarse to fine. */
export interface Stage {
  levels: readonly number[];
  steps: number;
}

export interface TrainOptions {
  cell: string;
  /** Width of the cell at its full resolution. */
  channels: number;
  adjoint: Adjoint['adjoint'];
  /** Steps of `unrolled` and `checkpointed`. */
  unrolledSteps: number;
  similarity: SimilarityJacobian;
  dtype: 'f32' | 'f16';
  /** Width of the LNCC window, in voxels of each level, in the loss and in the cell's force. */
  window: number;
  /**
   * Diffusion regularisation a step of the `deqreg` cell, in voxel² of each level's finest axis: the last for the finest level of all
   * stages, and so on.
   */
  lambda: readonly number[];
  loss: LossOptions;
  stages: readonly Stage[];
  /** Adam's rate: rises linearly over `warmUp` steps, then falls along half a cosine to a twentieth. */
  rate: number;
  warmUp: number;
  /** Largest joint norm of the gradients. */
  clip: number;
  /** Decay of the moving average of the weights, which is what is validated and kept. */
  averaging: number;
  /**
   * Evaluations of the cell on a level: a budget drawn anew for each step, and the RMS residual in voxels (and a thousandth of the field's
   * own RMS) that ends a solve before.
   */
  solver: { minIterations: number; maxIterations: number; tolerance: number };
  /**
   * How the trained cell is to be solved when it registers, a value for each level as for `lambda`: evaluations at most, RMS residual in
   * voxels.
   */
  register: { iterations: readonly number[]; tolerance: readonly number[] };
  /** By name, or every setting of it. */
  augmentation: keyof typeof augmentations | Augmentation;
  /** Steps between validations, and between checkpoints. */
  validateEvery: number;
  checkpointEvery: number;
  seed: number;
}

/** What a user says: any part of it. */
export type GivenTrainOptions = Partial<Omit<TrainOptions, 'loss' | 'solver' | 'register'>> & {
  loss?: Partial<TrainOptions['loss']>;
  solver?: Partial<TrainOptions['solver']>;
  register?: Partial<TrainOptions['register']>;
};

export const defaults: TrainOptions = {
  cell: 'deqreg',
  channels: 8,
  adjoint: 'jfb', // those that do equally well by bench/results/training.md take more memory and longer steps
  unrolledSteps: 6,
  similarity: 'detached',
  dtype: 'f32',
  window: 11,
  lambda: [0.245, 0.14, 0.09],
  loss: { similarity: 'lncc', diffusion: 2, dice: 3 },
  stages: [
    { levels: [8, 4], steps: 60 },
    { levels: [8, 4, 2], steps: 6 },
  ],
  rate: 1e-3,
  warmUp: 10,
  clip: 1,
  averaging: 0.95,
  solver: { minIterations: 10, maxIterations: 24, tolerance: 0.004 },
  register: { iterations: [40, 40, 24], tolerance: [0.002, 0.002, 0.006] },
  augmentation: 'mri',
  validateEvery: 20,
  checkpointEvery: 10,
  seed: 1,
};

/** Fills in defaults and refuses what cannot work, naming the option. `given` may come from a JSON file. */
export function resolveTrainOptions(given: GivenTrainOptions): TrainOptions {
  const fail = (what: string): never => {
    throw new Error(`train: ${what}`);
  };
  checkOptions('train', given, Object.keys(defaults));
  for (const group of ['loss', 'solver', 'register'] as const)
    checkOptions('train', given[group] ?? {}, Object.keys(defaults[group]), `${group}.`);
  const options: TrainOptions = {
    ...defaults,
    ...given,
    loss: { ...defaults.loss, ...given.loss },
    solver: { ...defaults.solver, ...given.solver },
    register: { ...defaults.register, ...given.register },
  };
  const choice = (name: string, value: unknown, choices: readonly unknown[]) =>
    choices.includes(value) || fail(`${name} must be one of ${choices.join(', ')}; got ${value}`);
  const whole = (name: string, value: unknown, least: number) =>
    (Number.isInteger(value) && (value as number) >= least) || fail(`${name} must be a whole number of at least ${least}, got ${value}`);
  const between = (name: string, value: unknown, low: number, high: number) =>
    (typeof value === 'number' && value >= low && value <= high) || fail(`${name} must be between ${low} and ${high}, got ${value}`);
  choice('cell', options.cell, Object.keys(cells));
  choice('adjoint', options.adjoint, adjoints);
  choice('similarity', options.similarity, similarityJacobians);
  choice('dtype', options.dtype, ['f32', 'f16']);
  if (typeof options.augmentation === 'string') choice('augmentation', options.augmentation, Object.keys(augmentations));
  else {
    const fault = augmentationFault(options.augmentation);
    if (fault) fail(fault);
  }
  for (const name of ['channels', 'unrolledSteps', 'validateEvery', 'checkpointEvery'] as const) whole(name, options[name], 1);
  for (const name of ['warmUp', 'seed'] as const) whole(name, options[name], 0);
  whole('window', options.window, 3);
  if (options.window % 2 === 0) fail(`window must be odd, got ${options.window}`);
  between('rate', options.rate, 0, 1);
  between('clip', options.clip, 1e-9, 1e9);
  between('averaging', options.averaging, 0, 0.99999);
  choice('loss.similarity', options.loss.similarity, ['lncc', 'mse']);
  between('loss.diffusion', options.loss.diffusion, 0, 1e6);
  between('loss.dice', options.loss.dice, 0, 1e6);
  whole('solver.minIterations', options.solver.minIterations, 1);
  whole('solver.maxIterations', options.solver.maxIterations, options.solver.minIterations);
  const list = (name: string, values: readonly number[], check: (name: string, value: number) => unknown) => {
    if (!Array.isArray(values) || !values.length) fail(`${name} must be a list, coarse to fine, got ${JSON.stringify(values)}`);
    values.forEach((value, i) => check(`${name}[${i}]`, value));
  };
  list('lambda', options.lambda, (name, value) => between(name, value, 0, 50));
  list('register.iterations', options.register.iterations, (name, value) => whole(name, value, 1));
  list('register.tolerance', options.register.tolerance, (name, value) => between(name, value, 0, 1));
  between('solver.tolerance', options.solver.tolerance, 0, 1);
  if (!Array.isArray(options.stages) || !options.stages.length) fail('stages must be a list of { levels, steps }');
  options.stages.forEach((stage, i) => {
    checkOptions('train', stage, ['levels', 'steps'], `stages[${i}].`);
    whole(`stages[${i}].steps`, stage.steps, 1);
    const { levels } = stage;
    if (!Array.isArray(levels) || !levels.length || !levels.every((f) => Number.isInteger(Math.log2(f)) && f >= 1))
      fail(`stages[${i}].levels must be powers of two such as 8,4, got ${levels}`);
    if (levels.some((f, k) => k > 0 && f >= levels[k - 1])) fail(`stages[${i}].levels must go from coarse to fine, got ${levels}`);
  });
  return options;
}

export const totalSteps = ({ stages }: Pick<TrainOptions, 'stages'>): number => stages.reduce((sum, { steps }) => sum + steps, 0);

/** Of a list given for the levels of the whole pyramid, coarse to fine, the values of some of its levels. */
export function atLevels(list: readonly number[], { stages }: Pick<TrainOptions, 'stages'>, levels: readonly number[]): number[] {
  const finest = Math.min(...stages.map((stage) => stage.levels.at(-1)!));
  return levels.map((factor) => list[Math.max(0, list.length - 1 - Math.log2(factor / finest))]);
}

/** The model of some weights, for registrations on these levels (default: those of the last stage). */
export function modelOf(
  options: TrainOptions,
  modality: Model['modality'],
  values: Model['values'],
  levels = options.stages.at(-1)!.levels,
): Model {
  const { cell, channels, window, lambda, register } = options;
  const of = (list: readonly number[]) => atLevels(list, options, levels);
  return {
    cell,
    channels,
    window,
    modality,
    values,
    iterations: of(register.iterations),
    tolerance: of(register.tolerance),
    ...(cell === 'deqreg' && { lambda: of(lambda) }),
  };
}

/** Adam's rate at each step, counted from 0. */
export const learningRate = (options: TrainOptions): LearningRate =>
  linearWarmUp(options.warmUp, cosineRate(options.rate, Math.max(1, totalSteps(options) - options.warmUp), options.rate / 20));

/** The augmentation of a run; with a single image, pairs are made of it. */
export function augmentationOf({ augmentation }: TrainOptions, images: number): Augmentation | undefined {
  if (augmentation === 'none' && images > 1) return undefined;
  const options = typeof augmentation === 'string' ? augmentations[augmentation] : augmentation;
  return images > 1 ? options : synthetic(options);
}
