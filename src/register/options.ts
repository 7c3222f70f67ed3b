// Options of a registration: names, defaults, and what is refused.
import type { Grid } from '../io/volume.ts';
import { type AffineMode, affineModes } from './affine.ts';
import { type Modality, modalities } from './intensity.ts';
import { defaultLevels } from './pyramid.ts';

export const methods = ['equilibrium', 'adam'] as const;
export type RegistrationMethod = (typeof methods)[number];

export interface RegisterOptions {
  /** `equilibrium`: the fixed point of the classical cell, by Anderson acceleration. `adam`: composed Adam steps. */
  method?: RegistrationMethod;
  /** Coarsening of each level, coarse to fine, in multiples of the finest spacing (powers of two); 1 is full resolution. */
  levels?: readonly number[];
  /** Evaluations of the update at most, one number or one a level. */
  iterations?: number | readonly number[];
  /** A level ends when the RMS of f(u) − u is below this many voxels of its grid; one number or one a level. */
  tolerance?: number | readonly number[];
  /** Diffusion regularisation a step, in voxel² of the level's grid; one number or one a level. Larger is smoother. */
  lambda?: number | readonly number[];
  /** Width of the LNCC window in voxels of each level, odd. */
  window?: number;
  /** Alignment before the deformation; `auto` aligns only what starts far apart. */
  affine?: AffineMode;
  /** How intensities are windowed; `auto` takes a volume with values below −500 for CT. */
  modality?: Modality | 'auto';
}

/** Every option with its value; what metrics.json records. */
export interface ResolvedOptions {
  method: RegistrationMethod;
  levels: readonly number[];
  iterations: readonly number[];
  tolerance: readonly number[];
  lambda: readonly number[];
  window: number;
  affine: AffineMode;
  modality: Modality | 'auto';
  /** Longest step of the update, in voxels; `softness` and `smoothing` as in VariationalOptions. */
  step: number;
  softness: number;
  smoothing: number;
}

/** Found on brain MRI, lung CT and cardiac MRI together: one setting for all. Lists are for the three default levels. */
const presets = {
  equilibrium: {
    iterations: [40, 40, 20],
    tolerance: [0.002, 0.002, 0.006],
    lambda: [0.245, 0.18, 0.08],
    window: 11,
    step: 0.375,
    softness: 0.3,
    smoothing: 0.8,
  },
  adam: {
    iterations: [60, 60, 40],
    tolerance: [0, 0, 0],
    lambda: [0.245, 0.18, 0.08],
    window: 11,
    step: 0.5,
    softness: 0.1,
    smoothing: 0.8,
  },
};

/** Fills in defaults for a fixed grid and refuses what cannot work, naming the option. */
export function resolveOptions(options: RegisterOptions, fixed: Grid): ResolvedOptions {
  const known = ['method', 'levels', 'iterations', 'tolerance', 'lambda', 'window', 'affine', 'modality'];
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  if (unknown.length) throw new Error(`register: unknown option ${unknown.join(', ')}; there are ${known.join(', ')}`);
  const method = options.method ?? 'equilibrium';
  if (!methods.includes(method)) throw new Error(`method must be ${methods.join(' or ')}, got ${method}`);
  const preset = presets[method];
  const levels = options.levels ?? defaultLevels(fixed);
  if (!levels.length || !levels.every((f) => Number.isInteger(Math.log2(f)) && f >= 1))
    throw new Error(`levels must be powers of two such as 8,4,2, got ${levels}`);
  if (levels.some((f, i) => i > 0 && f >= levels[i - 1]!)) throw new Error(`levels must go from coarse to fine, got ${levels}`);
  const affine = options.affine ?? 'auto';
  if (!affineModes.includes(affine)) throw new Error(`affine must be ${affineModes.join(', ')}; got ${affine}`);
  const modality = options.modality ?? 'auto';
  if (!modalities.includes(modality)) throw new Error(`modality must be ${modalities.join(', ')}; got ${modality}`);
  const perLevel = (name: 'iterations' | 'tolerance' | 'lambda', valid: (value: number) => boolean, rule: string) => {
    const values = spreadOver(name, levels.length, options[name], preset[name]);
    if (!values.every(valid)) throw new Error(`${name} must be ${rule}, got ${values}`);
    return values;
  };
  const window = options.window ?? preset.window;
  if (!Number.isInteger(window) || window < 3 || window % 2 === 0)
    throw new Error(`window must be an odd whole number of at least 3 voxels, got ${window}`);
  return {
    method,
    levels,
    iterations: perLevel('iterations', (n) => Number.isInteger(n) && n >= 1, 'whole numbers above 0'),
    tolerance: perLevel('tolerance', (t) => t >= 0 && Number.isFinite(t), '0 voxels or more'),
    lambda: perLevel('lambda', (l) => l >= 0 && l <= 50, 'between 0 and 50 voxel²'),
    window,
    affine,
    modality,
    step: preset.step,
    softness: preset.softness,
    smoothing: preset.smoothing,
  };
}

/** One number for all levels, or one a level. A preset serves other counts of levels by its last values; its first one is repeated. */
function spreadOver(
  name: string,
  count: number,
  given: number | readonly number[] | undefined,
  preset: readonly number[],
): readonly number[] {
  if (given === undefined) return Array.from({ length: count }, (_, i) => preset[Math.max(0, preset.length - count + i)]!);
  if (typeof given === 'number') return Array<number>(count).fill(given);
  if (given.length !== count) throw new Error(`${name}: ${given.length} values for ${count} levels; give one, or one a level`);
  return given;
}
