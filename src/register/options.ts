// Options of a registration: names, defaults, and what is refused.
import type { Vec3 } from '../io/affine.ts';
import type { VariationalOptions } from '../models/variational.ts';
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
  /** A level ends when the RMS of f(u) − u is below this many voxels (of the level's grid). */
  tolerance?: number;
  /** Diffusion regularisation a step, in voxel². Larger is smoother. */
  lambda?: number;
  /** Width of the LNCC window in voxels of each level, odd. */
  window?: number;
}

/** Every option with its value; what metrics.json records. */
export interface ResolvedOptions {
  method: RegistrationMethod;
  levels: readonly number[];
  iterations: readonly number[];
  tolerance: number;
  lambda: number;
  window: number;
  cell: VariationalOptions;
}

const shared = { smoothing: 1, step: 0.375, softness: 0.3 };
/** Found on brain MRI, lung CT and cardiac pairs; the same for all. */
const defaults = {
  equilibrium: { iterations: [40, 40, 20], tolerance: 0.01, lambda: 0.125, window: 11, ...shared },
  adam: { iterations: [60, 60, 40], tolerance: 0, lambda: 0.125, window: 9, ...shared, smoothing: 0.7 },
};

/** Fills in defaults for a fixed grid and refuses what cannot work, naming the option. */
export function resolveOptions(options: RegisterOptions, size: Vec3, spacing: Vec3): ResolvedOptions {
  const known = ['method', 'levels', 'iterations', 'tolerance', 'lambda', 'window'];
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  if (unknown.length) throw new Error(`register: unknown option ${unknown.join(', ')}; there are ${known.join(', ')}`);
  const method = options.method ?? 'equilibrium';
  if (!methods.includes(method)) throw new Error(`method must be ${methods.join(' or ')}, got ${method}`);
  const preset = defaults[method];
  const levels = options.levels ?? defaultLevels(size, spacing);
  if (!levels.length || !levels.every((f) => Number.isInteger(Math.log2(f)) && f >= 1)) throw new Error(`levels must be powers of two such as 8,4,2, got ${levels}`);
  if (levels.some((f, i) => i > 0 && f >= levels[i - 1]!)) throw new Error(`levels must go from coarse to fine, got ${levels}`);
  const iterations = spreadOver(levels.length, options.iterations ?? preset.iterations);
  if (!iterations.every((n) => Number.isInteger(n) && n >= 1)) throw new Error(`iterations must be whole numbers above 0, got ${iterations}`);
  const { tolerance = preset.tolerance, lambda = preset.lambda, window = preset.window } = options;
  if (!(tolerance >= 0)) throw new Error(`tolerance must be ≥ 0 voxels, got ${tolerance}`);
  if (!(lambda >= 0 && lambda <= 50)) throw new Error(`lambda must lie in 0…50 voxel², got ${lambda}`);
  if (!Number.isInteger(window) || window < 3 || window % 2 === 0) throw new Error(`window must be an odd whole number ≥ 3, got ${window}`);
  return { method, levels, iterations, tolerance, lambda, window, cell: { lambda, step: preset.step, softness: preset.softness, smoothing: preset.smoothing } };
}

/** One number for all levels, or one a level; a preset for three levels serves others by its last ones. */
function spreadOver(count: number, values: number | readonly number[]): readonly number[] {
  if (typeof values === 'number') return Array(count).fill(values);
  if (values.length === count) return values;
  if (values !== defaults.equilibrium.iterations && values !== defaults.adam.iterations) {
    throw new Error(`iterations: ${values.length} values for ${count} levels; give one, or one a level`);
  }
  return Array.from({ length: count }, (_, i) => values[Math.max(0, values.length - count + i)] ?? values[0]!);
}
