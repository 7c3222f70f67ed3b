// The figures of an evaluation: what is taken of each registration's metrics, as a row of CSV, and as mean and standard deviation.
import { encodeTable } from '../../io/table.ts';
import type { Report } from '../metrics.ts';

export const figures = {
  diceBefore: { column: 'dice_before', title: 'Dice before', digits: 3, of: ({ dice }) => dice?.before },
  dice: { column: 'dice', title: 'Dice', digits: 3, of: ({ dice }) => dice?.mean },
  hd95: { column: 'hd95_mm', title: 'HD95 (mm)', digits: 2, of: ({ hd95 }) => hd95?.mean },
  treBefore: { column: 'tre_before_mm', title: 'TRE before (mm)', digits: 2, of: ({ tre }) => tre?.before },
  tre: { column: 'tre_mm', title: 'TRE (mm)', digits: 2, of: ({ tre }) => tre?.after },
  treSd: { column: 'tre_sd_mm', title: 'TRE sd (mm)', digits: 2, of: ({ tre }) => tre?.afterSd },
  lnccBefore: { column: 'lncc_before', title: 'LNCC before', digits: 3, of: ({ similarity }) => similarity.before },
  lncc: { column: 'lncc', title: 'LNCC', digits: 3, of: ({ similarity }) => similarity.after },
  folds: { column: 'folds_percent', title: 'Folds (%)', digits: 3, of: ({ foldingPercent }) => foldingPercent },
  ndv: { column: 'ndv_percent', title: 'NDV (%)', digits: 4, of: ({ ndvPercent }) => ndvPercent },
  sdLogJ: { column: 'sdlogj', title: 'SDlogJ', digits: 3, of: ({ sdLogJ }) => sdLogJ },
  sdLogJLearn2Reg: { column: 'sdlogj_learn2reg', title: 'SDlogJ of Learn2Reg', digits: 4, of: ({ sdLogJLearn2Reg }) => sdLogJLearn2Reg },
  secondsRegistration: {
    column: 'seconds_registration',
    title: 'Registration (s)',
    digits: 1,
    of: ({ seconds: { affine, prepare, solve } }) => affine + prepare + solve,
  },
  seconds: { column: 'seconds', title: 'Whole (s)', digits: 1, of: ({ seconds }) => seconds.total },
  plannedMiB: { column: 'planned_gpu_mib', title: 'GPU (MiB)', digits: 0, of: ({ memory }) => memory.planned.total / 2 ** 20 },
} satisfies Record<string, { column: string; title: string; digits: number; of: (metrics: Report) => number | undefined }>;

export type Figure = keyof typeof figures;
export const figureNames = Object.keys(figures) as Figure[];

/** One pair registered by one method: figures, or why there are none. */
export interface Run {
  pair: string;
  method: string;
  error?: string;
  /** Where folds, NDV and SDlogJ are measured. */
  region?: string;
  /** Of the labels, where there are some. */
  dices?: Record<string, number>;
  /** Null where the pair has nothing to measure it by. */
  figures?: Record<Figure, number | null>;
  levels?: { factor: number; result: string; iterations: number; residual: number | null }[];
}

export function runOf(pair: string, method: string, metrics: Report): Run {
  const value = (name: Figure) => {
    const found = figures[name].of(metrics);
    return found !== undefined && Number.isFinite(found) ? found : null;
  };
  return {
    pair,
    method,
    region: metrics.region,
    ...(metrics.dice && { dices: metrics.dice.perLabel }),
    figures: Object.fromEntries(figureNames.map((name) => [name, value(name)])) as Record<Figure, number | null>,
    levels: metrics.solver.levels.map(({ factor, result, iterations, residual }) => ({
      factor,
      result,
      iterations,
      residual: Number.isFinite(residual) ? residual : null,
    })),
  };
}

/** Over the pairs of a method that have the figure; `sd` has n − 1 below, and is null for one pair. */
export interface Mean {
  n: number;
  mean: number;
  sd: number | null;
}

export interface MethodMeans {
  method: string;
  runs: number;
  failed: number;
  means: Partial<Record<Figure, Mean>>;
}

export function meansOf(runs: readonly Run[], method: string): MethodMeans {
  const own = runs.filter((run) => run.method === method);
  const means: MethodMeans['means'] = {};
  for (const name of figureNames) {
    const values = own.map((run) => run.figures?.[name]).filter((value) => typeof value === 'number');
    if (!values.length) continue;
    const mean = values.reduce((a, b) => a + b) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    means[name] = { n: values.length, mean, sd: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null };
  }
  return { method, runs: own.length, failed: own.filter(({ error }) => error !== undefined).length, means };
}

/** A row a run, all digits; lists by level are separated by spaces, and each label's Dice has a column of its own. */
export function csvOf(runs: readonly Run[]): string {
  const labels = [...new Set(runs.flatMap(({ dices = {} }) => Object.keys(dices)))].sort((a, b) => Number(a) - Number(b));
  const rows = runs.map(({ pair, method, error, region = '', dices, figures: own, levels = [] }) => [
    pair,
    method,
    ...figureNames.map((name) => own?.[name] ?? ''),
    region,
    levels.map(({ iterations }) => iterations).join(' '),
    levels.map(({ residual }) => residual ?? '-').join(' '),
    levels.map(({ result }) => result).join(' '),
    error ?? '',
    ...labels.map((label) => dices?.[label] ?? ''),
  ]);
  const head = [
    'pair',
    'method',
    ...figureNames.map((name) => figures[name].column),
    'region',
    'iterations',
    'rms_residual_voxel',
    'verdicts',
    'error',
    ...labels.map((label) => `dice_${label}`),
  ];
  return encodeTable([head, ...rows]);
}

/** In words, where the pairs' folds, NDV and SDlogJ are of different regions, and their means are of all of these. */
export function mixedRegions(runs: readonly Run[]): string | undefined {
  const regions = [...new Set(runs.flatMap(({ region }) => region ?? []))];
  if (regions.length < 2) return undefined;
  const count = (region: string) => new Set(runs.filter((run) => run.region === region).map(({ pair }) => pair)).size;
  return `folds, NDV and SDlogJ are of different regions, so are their means: ${regions.map((region) => `${region} (${count(region)} pairs)`).join(', ')}`;
}
