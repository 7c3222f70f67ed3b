// What of training fits a GPU: the exact memory of a training step for every choice of levels, width, gradient and storage, without a
// device.
import { type Adjoint, adjoints } from '../deq/problem.ts';
import { plan } from '../graph/plan.ts';
import type { Grid } from '../io/volume.ts';
import { levelGrid, levelSpacing } from '../register/pyramid.ts';
import { type GivenTrainOptions, resolveTrainOptions, type Stage, type TrainOptions } from './options.ts';
import { traceStage } from './train.ts';

type Size = [number, number, number];

export interface FitQuestion {
  /** Of the images at full resolution, voxels along (W, H, D). */
  size: Size;
  /** Of a voxel, mm along (W, H, D). Thick slices are coarsened less, and augmentation is in mm. Default 1. */
  spacing?: readonly [number, number, number];
  /** GPU memory that there is. */
  bytes: number;
  /** What is not asked about, as for `resolveTrainOptions`. */
  options?: GivenTrainOptions;
  /** Labels whose Dice counts; 0: images without label maps. */
  labels?: number;
  /** What is asked about; default: all of `choices`. */
  among?: Partial<typeof choices>;
}

/** A way to train, and what its largest step takes. */
export interface Fit {
  /** Coarsening of the finest level. */
  finest: number;
  /** Voxels of that level along (W, H, D). */
  size: Size;
  channels: number;
  dtype: TrainOptions['dtype'];
  adjoint: Adjoint['adjoint'];
  /** GPU memory of a step, all buffers. */
  bytes: number;
  fits: boolean;
}

/** Best first: a finer level before f32, f32 before more channels, more channels before a truer gradient. */
export const choices: {
  finest: readonly number[];
  dtype: readonly Fit['dtype'][];
  channels: readonly number[];
  adjoint: readonly Fit['adjoint'][];
} = {
  finest: [1, 2, 4],
  dtype: ['f32', 'f16'],
  channels: [64, 32, 16, 8],
  adjoint: adjoints,
};

const voxels = ({ size }: { size: readonly number[] }): number => size.reduce((a, b) => a * b);

/** Voxels along the shortest axis that the finest level has at least. */
const LEAST = 8;

/** The stages of a run whose finest level is coarsened by `finest`: those given that are not finer, the last one down to it. */
export function stagesTo(finest: number, stages: readonly Stage[]): Stage[] {
  const reaching = ({ levels }: Stage): number[] => {
    const down = levels.filter((factor) => factor >= finest);
    while (down.at(-1)! > finest) down.push(down.at(-1)! / 2);
    return down.length ? down : [finest];
  };
  const before = stages.slice(0, -1).filter(({ levels }) => levels.every((factor) => factor >= finest));
  const last = { levels: reaching(stages.at(-1)!), steps: stages.at(-1)!.steps };
  return before.some(({ levels }) => `${levels}` === `${last.levels}`) ? before : [...before, last];
}

/** The options of a run. */
export const optionsOf = (
  { finest, channels, dtype, adjoint }: Pick<Fit, 'finest' | 'channels' | 'dtype' | 'adjoint'>,
  options: GivenTrainOptions = {},
): TrainOptions =>
  resolveTrainOptions({ ...options, channels, dtype, adjoint, stages: stagesTo(finest, resolveTrainOptions(options).stages) });

/**
 * For each finest level, storage and gradient, in this order, the widest cell that fits, or the narrowest where none does. Levels with too
 * few voxels are left out. The bytes are those of the last stage's step, the largest.
 */
export function fitsOf({ size, spacing: [x, y, z] = [1, 1, 1], bytes: limit, options = {}, labels = 0, among = {} }: FitQuestion): Fit[] {
  const full: Grid = { size, affine: [x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0] };
  const { finest: levels, dtype: dtypes, channels, adjoint: gradients } = { ...choices, ...among };
  const widths = channels.toSorted((a, b) => a - b);
  const seen = new Map<Fit['adjoint'], Fit>();
  return levels.flatMap((finest) => {
    const grid = finest === 1 ? full : levelGrid(full, levelSpacing(full, finest));
    if (grid.size.some((n) => n < LEAST)) return [];
    const subject = (id: string) => ({ id, image: new Float32Array(), ...(labels && { labels: new Float32Array() }) });
    const set = { grid, subjects: [subject('fixed'), subject('moving')] };
    const planned = (way: Pick<Fit, 'dtype' | 'adjoint' | 'channels'>): Fit => {
      const resolved = optionsOf({ finest, ...way }, options);
      const values = Array.from({ length: labels }, (_, i) => i + 1);
      const bytes = plan(traceStage(resolved, set, resolved.stages.at(-1)!, values).graph).peak.total;
      return { finest, size: [...grid.size] as Size, ...way, bytes, fits: bytes <= limit };
    };
    return dtypes.flatMap((dtype) =>
      gradients.map((adjoint) => {
        // Memory rises with the width: up or down from about where the last plan of this gradient lets it fit.
        const last = seen.get(adjoint);
        const about = (width: number) => (last ? last.bytes * (voxels(grid) / voxels(last)) * (width / last.channels) : 0);
        let at = last
          ? Math.max(
              0,
              widths.findLastIndex((width) => about(width) <= limit),
            )
          : Math.min(1, widths.length - 1);
        let best = planned({ dtype, adjoint, channels: widths[at] });
        while (best.fits && at + 1 < widths.length) {
          const wider = planned({ dtype, adjoint, channels: widths[++at] });
          if (!wider.fits) break;
          best = wider;
        }
        while (!best.fits && at > 0) best = planned({ dtype, adjoint, channels: widths[--at] });
        seen.set(adjoint, best);
        return best;
      }),
    );
  });
}

/** The first of those that fit by the order of `choices`. */
export function recommended(fits: readonly Fit[]): Fit | undefined {
  const { finest, dtype, adjoint } = choices;
  const rank = (fit: Fit) => [finest.indexOf(fit.finest), dtype.indexOf(fit.dtype), -fit.channels, adjoint.indexOf(fit.adjoint)];
  const before = (a: number[], b: number[]) => a.map((v, i) => v - b[i]).find((difference) => difference !== 0) ?? 0;
  return fits.filter(({ fits }) => fits).sort((a, b) => before(rank(a), rank(b)))[0];
}
