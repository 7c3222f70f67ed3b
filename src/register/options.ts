// Options of a registration: names, defaults, and what is refused.
import { checkOptions, checkSignal } from '../graph/options.ts';
import { type Affine, invertAffine, voxelSpacing } from '../io/affine.ts';
import { type Grid, gridOf, type MaskedVolume } from '../io/volume.ts';
import type { Model } from '../models/cells.ts';
import type { VariationalOptions } from '../models/variational.ts';
import { type AffineMode, affineModes } from './affine.ts';
import { looksLikeCt, type Modality, modalities } from './intensity.ts';
import { checkModel } from './model.ts';
import { defaultLevels, placeOf, refinedLevel } from './pyramid.ts';
import { type Region, regionOf, within } from './region.ts';

/** Those that need no trained model. */
export const classicalMethods = ['equilibrium', 'adam'] as const;
type ClassicalMethod = (typeof classicalMethods)[number];
export const methods = [...classicalMethods, 'deq'] as const;
export type RegistrationMethod = (typeof methods)[number];

export interface RegisterOptions {
  /**
   * `equilibrium`: the fixed point of the classical cell, by Anderson acceleration. `adam`: composed Adam steps. `deq`: the fixed point of
   * a trained cell, by Anderson acceleration.
   */
  method?: RegistrationMethod;
  /** The trained cell of `deq`, which has its own window, regularisation and intensity window. */
  model?: Model;
  /**
   * Evaluations of the classical cell at most that end a registration, at twice the last level's resolution, up to 8 million voxels; on the
   * last level, where there is no finer one. Default: 3 where there is a finer one and levels are the default ones, and the method
   * is not `deq`; else 0.
   */
  refine?: number;
  /**
   * Coarsening of each level, coarse to fine, in multiples of the finest spacing (powers of two); 1 is full resolution. Default: three, the
   * finest of at most 2²¹ voxels.
   */
  levels?: readonly number[];
  /** Evaluations of the update at most, one number or one a level. Default: 150, 150, 80; `adam`: 60, 60, 40; `deq`: the model's own. */
  iterations?: number | readonly number[];
  /**
   * A level ends when the RMS of f(u) − u is below this many voxels of its grid; one number or one a level. Default: 0.002, 0.002, 0.006;
   * `adam`: 0; `deq`: the model's own.
   */
  tolerance?: number | readonly number[];
  /**
   * Diffusion regularisation a step, in voxel² of the level's finest axis; one number or one a level. Larger is smoother. Default: 0.245,
   * 0.18, 0.08; CT and thick slices: 0.4, 0.3, 0.2; `deq`: the model's own.
   */
  lambda?: number | readonly number[];
  /** Width of the LNCC window in voxels of each level, odd; not of `deq`. Default: 11. */
  window?: number;
  /** Alignment before the deformation; `auto`, the default, aligns only what starts far apart. */
  affine?: AffineMode;
  /** Where everything starts, in place of the headers' places: fixed point → moving point, RAS mm, the three rows of its matrix. */
  initial?: Affine;
  /** How intensities are windowed; by default `auto`: CT where a thousandth of the values, not counting the smallest, lies below −500. */
  modality?: Modality | 'auto';
  /** Ends the registration soon after it is aborted: the promise rejects with the signal's reason, and the GPU can be used on. */
  signal?: AbortSignal;
}

/** Every option with its value; what metrics.json records. */
export type ResolvedOptions = CommonOptions & (({ method: ClassicalMethod } & ClassicalOptions) | { method: 'deq' });

interface CommonOptions {
  /** The part of the fixed grid that is solved on, where that is not all of it. */
  region?: Region;
  levels: readonly number[];
  iterations: readonly number[];
  tolerance: readonly number[];
  /** voxel² a step; empty where a trained cell has none. */
  lambda: readonly number[];
  window: number;
  affine: AffineMode;
  initial?: Affine;
  modality: Modality | 'auto';
  refine?: Refinement;
}

/** The classical update, as in VariationalOptions. */
type ClassicalOptions = Omit<VariationalOptions, 'lambda'>;

/**
 * The classical update after the last level: the level it works on; evaluations at most, tolerance and window in voxels, as those of a
 * level.
 */
export interface Refinement extends VariationalOptions {
  factor: number;
  iterations: number;
  tolerance: number;
  window: number;
}

/** Found on brain MRI, lung CT and cardiac MRI together: one setting for all, but for λ. Lists are for the default levels. */
export const presets = {
  equilibrium: {
    iterations: [150, 150, 80],
    tolerance: [0.002, 0.002, 0.006],
    window: 11,
    step: 0.375,
    softness: 0.3,
    smoothing: 0.8,
  },
  adam: {
    iterations: [60, 60, 40],
    tolerance: [0, 0, 0],
    window: 11,
    step: 0.5,
    softness: 0.1,
    smoothing: 0.8,
  },
};

/** Evaluations of a refinement by default. */
export const REFINE = 3;

/**
 * λ by default, voxel²: of the default levels, and of a refinement on a finer one. CT is noisier, and thick slices show less of a
 * deformation: found on a lung and three hearts.
 */
export const lambdas = {
  usual: { levels: [0.245, 0.18, 0.08], finer: 0.1 },
  smoother: { levels: [0.4, 0.3, 0.2], finer: 0.2 },
};
/** Slices are thick that are farther apart than this many of the finest spacing: levels 4, 2 and 1 leave them as they are. */
const THICK = 4;

/** Of models that do not say how they are to be solved: what the similarity's own short steps take on a pair of brains. */
const solving = { iterations: [24, 24, 12], tolerance: [0.002, 0.002, 0.006] };

const names = [
  'method',
  'model',
  'refine',
  'levels',
  'iterations',
  'tolerance',
  'lambda',
  'window',
  'affine',
  'initial',
  'modality',
  'signal',
] as const;

/** What is known of an image: where it lies, and its values, if they have been read. */
export type Described = Grid & Partial<Pick<MaskedVolume, 'data' | 'mask'>>;

/**
 * Fills in defaults for a fixed image and refuses what cannot work, naming the option. Without its values, only `modality` can say that it
 * is CT.
 */
export function resolveOptions(
  options: RegisterOptions & { method?: ClassicalMethod },
  fixed: Described,
): ResolvedOptions & { method: ClassicalMethod };
export function resolveOptions(options: RegisterOptions, fixed: Described): ResolvedOptions;
export function resolveOptions(options: RegisterOptions, whole: Described): ResolvedOptions {
  if (options === null || typeof options !== 'object')
    throw new Error(`register: options must be an object such as { levels: [8, 4] }, got ${options === null ? options : typeof options}`);
  checkOptions('register', options, names);
  const { signal } = options;
  checkSignal(signal);
  const region = regionOf(whole);
  const fixed = within(gridOf(whole), region);
  const part = region && { region };
  const method = options.method ?? 'equilibrium';
  if (!methods.includes(method)) throw new Error(`method must be one of ${methods.join(', ')}, got ${method}`);
  const levels = options.levels ?? defaultLevels(fixed);
  if (!Array.isArray(levels) || !levels.length || !levels.every((f) => typeof f === 'number' && Number.isInteger(Math.log2(f)) && f >= 1))
    throw new Error(`levels must be powers of two such as 8,4,2, got ${levels}`);
  if (levels.some((f, i) => i > 0 && f >= levels[i - 1]!)) throw new Error(`levels must go from coarse to fine, got ${levels}`);
  const affine = options.affine ?? 'auto';
  if (!affineModes.includes(affine)) throw new Error(`affine must be ${affineModes.join(', ')}; got ${affine}`);
  const initial = options.initial !== undefined && { initial: startOf(options.initial) };
  const modality = options.modality ?? 'auto';
  if (!modalities.includes(modality)) throw new Error(`modality must be ${modalities.join(', ')}; got ${modality}`);

  const perLevel = (
    name: 'iterations' | 'tolerance' | 'lambda',
    preset: readonly number[],
    valid: (value: number) => boolean,
    rule: string,
  ) => {
    const values = spreadOver(name, levels.length, options[name], preset);
    if (!values.every(valid)) throw new Error(`${name} must be ${rule}, got ${values}`);
    return values;
  };
  const budget = (preset: { iterations: readonly number[]; tolerance: readonly number[] }) => ({
    iterations: perLevel('iterations', preset.iterations, (n) => Number.isInteger(n) && n >= 1, 'whole numbers above 0'),
    tolerance: perLevel('tolerance', preset.tolerance, (t) => t >= 0 && Number.isFinite(t), '0 voxels or more'),
  });
  const regularisation = (preset: readonly number[]) => perLevel('lambda', preset, (l) => l >= 0 && l <= 50, 'between 0 and 50 voxel²');

  if (method === 'deq') {
    const model = modelOf(options);
    const budgeted = budget({ iterations: model.iterations ?? solving.iterations, tolerance: model.tolerance ?? solving.tolerance });
    const lambda = model.lambda ? regularisation(model.lambda) : [];
    return {
      method,
      ...part,
      levels,
      ...budgeted,
      lambda,
      window: model.window,
      affine,
      ...initial,
      modality: model.modality,
      ...refinement(options, fixed, levels, lambdaOf(whole, model.modality)),
    };
  }
  if (options.model !== undefined) throw new Error(`model does not apply to method ${method}; it is for deq`);
  const { iterations, tolerance, window: presetWindow, ...update } = presets[method];
  const lambda = lambdaOf(whole, modality);
  const placed = (preset: readonly number[]) => levels.map((factor) => preset[placeOf(fixed, factor)]);
  const window = options.window ?? presetWindow;
  if (!Number.isInteger(window) || window < 3 || window % 2 === 0)
    throw new Error(`window must be an odd whole number of at least 3 voxels, got ${window}`);
  return {
    method,
    ...part,
    levels,
    ...budget({ iterations: placed(iterations), tolerance: placed(tolerance) }),
    lambda: regularisation(placed(lambda.levels)),
    window,
    affine,
    ...initial,
    modality,
    ...update,
    ...refinement(options, fixed, levels, lambda),
  };
}

/** An affine that has an inverse. */
function startOf(initial: Affine): Affine {
  if (!Array.isArray(initial) || initial.length !== 12 || !initial.every(Number.isFinite))
    throw new Error(`initial must be twelve numbers, the three rows of an affine in RAS mm, got ${initial}`);
  try {
    invertAffine(initial);
  } catch (error) {
    throw new Error(`initial: its ${(error as Error).message}`);
  }
  return initial;
}

/** The model of `deq`, which leaves nothing to say about what it has learned or was trained with. */
function modelOf({ model, modality, lambda, window }: RegisterOptions): Model {
  if (!model) throw new Error('model is missing: method deq needs a trained one');
  checkModel(model);
  if (window !== undefined) throw new Error('window does not apply to method deq: it is part of the model');
  if (lambda !== undefined && !model.lambda) throw new Error('lambda does not apply to this model: it was made without one');
  if (modality && modality !== 'auto' && modality !== model.modality)
    throw new Error(
      `modality ${modality} contradicts the model, which was trained on ${model.modality}; leave it out, or take another model`,
    );
  return model;
}

/** λ by default, for what the fixed image shows. */
function lambdaOf({ affine, data, mask }: Described, modality: Modality | 'auto') {
  const spacing = voxelSpacing(affine);
  const thick = Math.max(...spacing) > THICK * Math.min(...spacing);
  const ct = modality === 'ct' || (modality === 'auto' && data !== undefined && looksLikeCt(data, mask));
  return thick || ct ? lambdas.smoother : lambdas.usual;
}

/** The classical update as `equilibrium` has it; tolerance and λ as asked for on the last level. */
function refinement(
  options: RegisterOptions,
  fixed: Described,
  levels: readonly number[],
  lambda: { levels: readonly number[]; finer: number },
): { refine?: Refinement } {
  const last = levels.at(-1)!;
  const factor = refinedLevel(fixed, last);
  const iterations = options.refine ?? (options.levels || options.method === 'deq' || factor === last ? 0 : REFINE);
  if (!Number.isInteger(iterations) || iterations < 0) throw new Error(`refine must be a whole number of 0 or more, got ${iterations}`);
  if (iterations === 0) return {};
  const { tolerance, window, step, softness, smoothing } = presets.equilibrium;
  const asked = (values: number | readonly number[] | undefined) => (typeof values === 'number' ? values : values?.at(-1));
  return {
    refine: {
      factor,
      iterations,
      tolerance: asked(options.tolerance) ?? tolerance.at(-1)!,
      window: options.window ?? window,
      lambda: asked(options.lambda) ?? (factor < last ? lambda.finer : lambda.levels.at(-1)!),
      step,
      softness,
      smoothing,
    },
  };
}

/**
 * One number for all levels, or one a level. A model's list serves other counts of levels by its last values; its first one is repeated.
 */
function spreadOver(
  name: string,
  count: number,
  given: number | readonly number[] | undefined,
  preset: readonly number[],
): readonly number[] {
  if (given === undefined) return Array.from({ length: count }, (_, i) => preset[Math.max(0, preset.length - count + i)]);
  if (typeof given === 'number') return Array<number>(count).fill(given);
  if (!Array.isArray(given) || !given.every((value) => typeof value === 'number'))
    throw new Error(`${name} must be one number, or a list of one a level, got ${JSON.stringify(given)}`);
  if (given.length !== count) throw new Error(`${name}: ${given.length} values for ${count} levels; give one, or one a level`);
  return given;
}
