// Does a result stay where it is when the solver runs on? The trained DEQ, unrolled twins of the same cell and the classical cell, by plain
// steps and by Anderson, for 1 to 20 times the evaluations that they were trained with, on pairs that none was trained on.
//   node build.mjs bench stability [--quick] [--pairs 3] [--weights bench/weights] [--only WORD] [--levels 8,4,2] [--multiples 1,2,5,20] [--json FILE]
// On a GPU three pairs and six multiples; on a software adapter one pair and four multiples, about 40 minutes on two cores for three DEQs and
// four twins. --quick: one pair at quarter resolution, one seed of each kind. --only: the kinds with this word in their name.
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type ModelFile, readModelFile } from '../src/cli/models.ts';
import { iterate, type Method } from '../src/deq/solver.ts';
import type { Gpu } from '../src/gpu/device.ts';
import { Schedule } from '../src/graph/schedule.ts';
import { voxelToVoxel } from '../src/io/affine.ts';
import type { Volume } from '../src/io/volume.ts';
import type { Model } from '../src/models/cells.ts';
import { openGpu, readVolume } from '../src/node.ts';
import { alignAffine } from '../src/register/affine.ts';
import { type IntensityWindow, intensityWindow } from '../src/register/intensity.ts';
import { dice, presentLabels, visitDeterminants, warpLabels } from '../src/register/metrics.ts';
import { resolveOptions, type ResolvedOptions } from '../src/register/options.ts';
import { FINISH, PREPARE, traceRegistration } from '../src/register/trace.ts';
import { trainedEvaluations } from '../src/register/model.ts';
import { brainGroups, type Case, dataFolder, realCases } from '../test/data.ts';
import { chart, type Series } from './chart.ts';
import { csv, reportName, table, writeReport } from './report.ts';

/** One registration: every level runs exactly `iterations` evaluations, `multiple` times the trained ones. */
export interface Row {
  pair: string;
  /** What kind of model: seeds of one kind share it. */
  model: string;
  /** Of training; none for the classical cell. */
  seed: number | null;
  solver: 'Anderson' | 'plain';
  multiple: number;
  iterations: number;
  /** Mean over the labels at the last iterate, and folded voxels inside them in percent; null where the solve was not finite. */
  dice: number | null;
  folds: number | null;
  /** RMS of f(u) − u in voxels of the finest level, of the last evaluation, and the tolerance at which a registration with this model ends. */
  residual: number | null;
  tolerance: number;
  /** Dice before the registration. */
  before: number;
}

const SOLVERS: Record<Row['solver'], Method> = { Anderson: { method: 'anderson' }, plain: { method: 'picard' } };
/** Levels that models are trained for, where they do not say; of `--quick`, the first two. */
const LEVELS = [8, 4, 2];
const MULTIPLES = { gpu: [1, 2, 3, 5, 10, 20], software: [1, 2, 5, 20] };
/** The bars: Dice may move by this much once converged, and must lie above this. A twin that ends this far below its best has degraded. */
export const SPREAD = 0.005;
export const LEAST_DICE = 0.7;
const SHIPPED = 'weights/brain-mri.safetensors';
export const CLASSICAL = 'classical';

interface Subject {
  kind: string;
  seed: number | null;
  /** Evaluations of the cell on a level while it was trained. */
  trained: number;
  model?: Model;
  levels: readonly number[];
}

/** The shipped model, and those of a folder that register MRI, DEQs first; then the classical cell. The same weights count once. */
async function subjects(folder: string): Promise<Subject[]> {
  const inFolder = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.safetensors')) : [];
  const files = await Promise.all([SHIPPED, ...inFolder.sort().map((name) => join(folder, name))].map(readModelFile));
  const distinct = files.filter(({ sha256, model }, i) => model.modality === 'mri' && files.findIndex((f) => f.sha256 === sha256) === i);
  const trained = distinct.map(({ model, card }: ModelFile): Subject & { unrolled: number } => {
    const unrolled = card.adjoint.startsWith('unrolled') || card.adjoint.startsWith('checkpointed');
    const evaluations = trainedEvaluations(card);
    const levels = Array.isArray(card.validation.levels) ? (card.validation.levels as number[]) : LEVELS;
    return {
      kind: unrolled ? `unrolled T = ${evaluations}` : `DEQ (${card.adjoint})`,
      seed: card.seed,
      trained: evaluations,
      model,
      levels,
      unrolled: unrolled ? evaluations : 0,
    };
  });
  trained.sort((a, b) => a.unrolled - b.unrolled || (a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : a.seed! - b.seed!));
  return [...trained, { kind: CLASSICAL, seed: null, trained: 20, levels: LEVELS }];
}

/** The pairs, the labelled validation pair first: no model was trained on a subject of the first two. */
function pairsOf(count: number): Case[] {
  const all = [...realCases(), ...Object.values(brainGroups()).flat()];
  const names = ['subA/subB', 'sub08/sub09', 'sub03/sub08', 'sub02/sub09'];
  return names.flatMap((name) => all.find((c) => c.name === `brain ${name}`) ?? []).slice(0, count);
}

interface Images {
  name: string;
  fixed: Volume;
  moving: Volume;
  fixedSeg: Volume;
  movingSeg: Volume;
  labels: number[];
  windows: { fixed: IntensityWindow; moving: IntensityWindow };
  transform: number[];
  before: number;
}

async function readPair(gpu: Gpu, c: Case): Promise<Images> {
  const [fixed, moving, fixedSeg, movingSeg] = (await Promise.all([c.fixed, c.moving, c.fixedSeg, c.movingSeg].map(readVolume))) as [
    Volume,
    Volume,
    Volume,
    Volume,
  ];
  const windows = { fixed: intensityWindow(fixed.data), moving: intensityWindow(moving.data) };
  const { matrix } = await alignAffine(
    gpu,
    fixed,
    moving,
    { windows, masks: { fixed: false, moving: false }, factors: LEVELS.slice(0, 2) },
    'auto',
  );
  const labels = presentLabels(fixedSeg.data, movingSeg.data, c.labels);
  const images = { name: c.name, fixed, moving, fixedSeg, movingSeg, labels, windows, transform: [...matrix] };
  return { ...images, before: overlapOf(images, new Float32Array(3 * fixed.data.length)) };
}

function overlapOf({ fixed, moving, fixedSeg, movingSeg, labels }: Omit<Images, 'before'>, u: Float32Array): number {
  const warped = warpLabels(movingSeg.data, moving.size, u, fixed.size, voxelToVoxel(fixed.affine, moving.affine));
  return dice(fixedSeg.data, warped, labels).mean;
}

/** Voxels inside the labels where the displacement folds, in percent. */
function foldsOf(u: Float32Array, { size, data }: Volume): number {
  let [inside, folded] = [0, 0];
  visitDeterminants(u, size, (voxel, determinant) => {
    if (data[voxel] === 0) return;
    inside++;
    if (determinant <= 0) folded++;
  });
  return (100 * folded) / inside;
}

/** A subject's options on some of its levels. */
function optionsOf({ model, levels: own }: Subject, levels: readonly number[], fixed: Volume): ResolvedOptions {
  const resolved = resolveOptions({ ...(model ? { method: 'deq', model } : { method: 'equilibrium' }), levels: own }, fixed);
  const missing = levels.filter((factor) => !own.includes(factor));
  if (missing.length) throw new Error(`--levels: a model of levels ${own.join(', ')} has no level ${missing.join(', ')}`);
  const of = (list: readonly number[]) => (list.length ? levels.map((factor) => list[own.indexOf(factor)]!) : list);
  const { iterations, tolerance, lambda } = resolved;
  return { ...resolved, levels, iterations: of(iterations), tolerance: of(tolerance), lambda: of(lambda) };
}

/** Runs one subject by one solver on one pair: a row a multiple, and the finest level's residuals of the longest run. */
async function measure(
  gpu: Gpu,
  images: Images,
  subject: Subject,
  solver: Row['solver'],
  levels: readonly number[],
  multiples: readonly number[],
): Promise<{ rows: Row[]; residuals: number[] }> {
  const { fixed, moving, fixedSeg, windows, transform, before } = images;
  const options = optionsOf(subject, levels, fixed);
  const { model } = subject;
  const traced = traceRegistration(fixed, moving, options, {
    windows,
    model,
    transform,
    solver: { method: SOLVERS[solver], ends: 'last' },
  });
  const schedule = await Schedule.build(gpu, traced.graph);
  const rows: Row[] = [];
  let residuals: number[] = [];
  try {
    for (const multiple of multiples) {
      const iterations = multiple * subject.trained;
      schedule.upload(traced.fixed, fixed.data);
      schedule.upload(traced.moving, moving.data);
      if (model) traced.parameters!.upload(schedule, model.values);
      schedule.run(PREPARE);
      let finite = true;
      for (const { iteration } of traced.levels) {
        schedule.run(`${iteration.name}.images`);
        // Nothing ends a level before its evaluations but a value that is not finite (or a residual of 0, which stays).
        const rule = { maxIterations: iterations, rtol: 0, atol: 0, patience: Infinity, divergence: Infinity };
        const outcome = await iterate(schedule, iteration, rule);
        residuals = outcome.residuals;
        finite = outcome.result !== 'non-finite';
        if (!finite) break;
      }
      const row = {
        pair: images.name,
        model: subject.kind,
        seed: subject.seed,
        solver,
        multiple,
        iterations,
        dice: null,
        folds: null,
        residual: null,
        tolerance: options.tolerance.at(-1)!,
        before,
      };
      if (!finite) {
        rows.push(row);
        continue;
      }
      schedule.run(FINISH);
      const u = new Float32Array(3 * fixed.data.length);
      for (const [c, component] of traced.displacement.entries()) u.set(await schedule.read(component), c * fixed.data.length);
      rows.push({ ...row, dice: overlapOf(images, u), folds: foldsOf(u, fixedSeg), residual: residuals.at(-1)! });
    }
  } finally {
    schedule.destroy();
  }
  return { rows, residuals };
}

/** What a curve (one model, seed, solver, pair; rising multiples) says. */
export interface Claim {
  rows: Row[];
  /** A solve was not finite, at this multiple first. */
  diverged?: number;
  /** The multiple from which on the residual is at its tolerance at every later one. */
  converged?: number;
  /** Mean Dice from there on, and its largest difference between any two of them. */
  plateau?: number;
  spread?: number;
  best?: Row;
  /** The best Dice less that of the last multiple. */
  loss?: number;
}

export function claimOf(rows: Row[]): Claim {
  const diverged = rows.find((row) => row.dice === null)?.multiple;
  const finite = rows.filter((row) => row.dice !== null);
  const best = finite.length ? finite.reduce((a, b) => (b.dice! > a.dice! ? b : a)) : undefined;
  const last = rows.at(-1)!;
  const late = rows.slice(rows.findLastIndex((row) => row.residual === null || row.residual > row.tolerance) + 1);
  const dices = late.map((row) => row.dice!);
  return {
    rows,
    ...(diverged !== undefined && { diverged }),
    ...(late.length && {
      converged: late[0]!.multiple,
      plateau: dices.reduce((a, b) => a + b) / dices.length,
      spread: Math.max(...dices) - Math.min(...dices),
    }),
    ...(best && { best }),
    ...(best && last.dice !== null && { loss: best.dice! - last.dice }),
  };
}

/** Rows by a key, in the order of their first ones. */
function groups<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const found = new Map<string, T[]>();
  for (const item of items) found.set(key(item), [...(found.get(key(item)) ?? []), item]);
  return [...found.values()];
}

const curvesOf = (rows: readonly Row[]) => groups(rows, ({ pair, model, seed, solver }) => `${pair}|${model}|${seed}|${solver}`);
const f4 = (value: number | null | undefined) => (value === null || value === undefined ? '' : value.toFixed(4));
const range = (values: readonly number[], show: (value: number) => string = f4): string => {
  const [low, high] = [show(Math.min(...values)), show(Math.max(...values))];
  return low === high ? low : `${low} … ${high}`;
};
const times = (multiple: number) => `${multiple}×`;
const several = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;

/** The findings in words, one for each kind of model and solver; all of it follows from the rows. */
export function findings(rows: readonly Row[]): string {
  const kinds = groups(curvesOf(rows).map(claimOf), ({ rows: [row] }) => `${row!.model}|${row!.solver}`);
  return kinds.map((claims) => `- ${finding(claims)}`).join('\n');
}

function finding(claims: Claim[]): string {
  const { model, solver, tolerance } = claims[0]!.rows[0]!;
  const end = times(Math.max(...claims[0]!.rows.map((row) => row.multiple)));
  const of = (some: Claim[]) =>
    some.length === claims.length
      ? some.length === 1
        ? 'the run'
        : `all ${some.length} runs`
      : `${some.length} of ${several(claims.length, 'run')}`;
  const seeds = new Set(claims.map(({ rows: [row] }) => row!.seed)).size;
  const pairs = new Set(claims.map(({ rows: [row] }) => row!.pair)).size;
  const name = `**${model}, ${solver}** (${model === CLASSICAL ? '' : `${several(seeds, 'seed')}, `}${several(pairs, 'pair')})`;
  const converged = claims.filter((claim) => claim.converged !== undefined);
  const diverged = claims.filter((claim) => claim.diverged !== undefined);
  const lost = claims.filter((claim) => claim.loss !== undefined);
  const degraded = lost.filter(({ loss }) => loss! > SPREAD);
  const at = (i: number) => claims.flatMap(({ rows }) => rows.at(i)!.dice ?? []);
  const sentences: string[] = [];
  if (diverged.length)
    sentences.push(
      `${of(diverged)} diverged: values that are not finite, first at ${range(
        diverged.map((c) => c.diverged!),
        times,
      )}`,
    );
  if (lost.length)
    sentences.push(
      `Dice ${range(at(0))} at 1×, at best ${range(lost.map(({ best }) => best!.dice!))}, ${range(at(-1))} at ${end}; ` +
        (degraded.length
          ? `${of(degraded)} degraded: Dice ends ${range(degraded.map(({ loss }) => loss!))} below its best`
          : `${lost.length === 1 ? 'it' : 'none'} ${lost.length === 1 ? 'does not degrade' : 'degrades'}: Dice ends at most ${f4(Math.max(...lost.map(({ loss }) => loss!)))} below its best`),
    );
  if (converged.length) {
    const spread = Math.max(...converged.map((claim) => claim.spread!));
    const least = Math.min(
      ...converged.flatMap(({ converged, rows }) => rows.filter((row) => row.multiple >= converged!).map((row) => row.dice!)),
    );
    const met = spread <= SPREAD && least > LEAST_DICE && converged.length === claims.length;
    sentences.push(
      `the residual is at its tolerance of ${tolerance} voxel in ${of(converged)}, from ${range(
        converged.map((c) => c.converged!),
        times,
      )} on; ` +
        `from there to ${end} Dice moves by at most ${f4(spread)} and stays above ${(Math.floor(least * 1e4) / 1e4).toFixed(4)}: ` +
        `the bar (every run at its tolerance, then within ${SPREAD} at Dice above ${LEAST_DICE.toFixed(2)}) is ${met ? 'met' : 'not met'}`,
    );
  } else
    sentences.push(
      `no run has its residual at its tolerance of ${tolerance} voxel; smallest at ${end}: ${f4(Math.min(...claims.map(({ rows }) => rows.at(-1)!.residual ?? Infinity)))}`,
    );
  const folds = Math.max(...claims.flatMap(({ rows }) => rows.flatMap((row) => row.folds ?? [])));
  if (Number.isFinite(folds)) sentences.push(`folds: at most ${f4(folds)} %`);
  return `${name}: ${sentences.join('. ').replace(/\. ([a-z])/g, (_, c: string) => `. ${c.toUpperCase()}`)}.`;
}

/** A line for each curve. */
export function claimTable(rows: readonly Row[]): string {
  const end = times(Math.max(...rows.map((row) => row.multiple)));
  return table(
    [
      'pair',
      'model',
      'seed',
      'solver',
      'evaluations at 1×',
      'Dice 1×',
      'best Dice',
      'at',
      `Dice ${end}`,
      'lost',
      'converged from',
      'plateau',
      'moves',
      `residual ${end}`,
      `folds % ${end}`,
    ],
    curvesOf(rows).map((curve) => {
      const { best, loss, converged, plateau, spread, diverged } = claimOf(curve);
      const [first, last] = [curve[0]!, curve.at(-1)!];
      const { pair, model, seed, solver, multiple, iterations } = first;
      return [
        pair,
        model,
        seed ?? '',
        solver,
        iterations / multiple,
        f4(first.dice),
        f4(best?.dice),
        best ? times(best.multiple) : '',
        diverged === undefined ? f4(last.dice) : `diverged at ${times(diverged)}`,
        f4(loss),
        converged === undefined ? 'not' : times(converged),
        f4(plateau),
        f4(spread),
        last.residual === null ? '' : last.residual.toPrecision(2),
        f4(last.folds),
      ];
    }),
  );
}

/** Dice against multiples, a table a pair. */
export function diceTable(rows: readonly Row[]): string {
  const multiples = [...new Set(rows.map((row) => row.multiple))].sort((a, b) => a - b);
  return table(
    ['model', 'seed', 'solver', ...multiples.map(times)],
    curvesOf(rows).map((curve) => [
      curve[0]!.model,
      curve[0]!.seed ?? '',
      curve[0]!.solver,
      ...multiples.map((m) => {
        const row = curve.find((r) => r.multiple === m);
        return row ? (row.dice === null ? 'diverged' : f4(row.dice)) : '';
      }),
    ]),
  );
}

/** The rows of a report's CSV. Throws on a file that has other columns. */
export function parseRows(text: string): Row[] {
  const [head, ...lines] = text.trim().split('\n');
  const keys = head!.split(',');
  return lines.map((line) => {
    const cells = line.split(',');
    if (cells.length !== keys.length) throw new Error(`${cells.length} cells for ${keys.length} columns: ${line}`);
    const is = (key: string) => ['pair', 'model', 'solver'].includes(key);
    return Object.fromEntries(
      keys.map((key, i) => [key, is(key) ? cells[i] : cells[i] === '' ? null : Number(cells[i])]),
    ) as unknown as Row;
  });
}

type Trace = Pick<Row, 'pair' | 'model' | 'seed' | 'solver'> & { residuals: number[] };

/** Charts: Dice a pair, residuals of the first pair, folds at their worst over the pairs. A colour a model, a line a seed. */
function charts(rows: readonly Row[], traces: readonly Trace[]): Record<string, string> {
  const models = [...new Set(rows.map((row) => row.model))];
  const look = ({ model, solver }: Pick<Row, 'model' | 'solver'>): Omit<Series, 'points'> => ({
    label: `${model}, ${solver}`,
    colour: models.indexOf(model),
    as: solver === 'plain' ? 'dashed' : 'curve',
  });
  const x = { label: 'evaluations a level, in multiples of those in training', log: 2, min: 1 } as const;
  const seriesOf = (some: readonly Row[], value: (row: Row) => number | null): Series[] =>
    curvesOf(some).map((curve) => ({
      ...look(curve[0]!),
      points: curve.flatMap((row) => (value(row) === null ? [] : [[row.multiple, value(row)!] as const])),
    }));
  const pairs = groups(rows, (row) => row.pair);
  const dices = pairs.map((some, i) => [
    i ? `-pair-${i + 1}.svg` : '.svg',
    chart({ title: `Dice, ${some[0]!.pair}`, x, y: { label: 'mean Dice' }, series: seriesOf(some, (row) => row.dice), height: 480 }),
  ]);
  const first = traces.filter((trace) => trace.pair === rows[0]!.pair);
  const residual = chart({
    title: `Residual on the finest level, ${rows[0]!.pair}`,
    x: { label: 'evaluations of the cell', min: 0 },
    y: { label: 'RMS of f(u) − u, voxels', log: 10 },
    series: first.map((trace) => ({
      ...look(trace),
      as: trace.solver === 'plain' ? 'dashed' : 'line',
      points: trace.residuals.flatMap((r, k) => (Number.isFinite(r) && r > 0 ? [[k + 1, r] as const] : [])),
    })),
    marks: [...new Set(rows.map((row) => row.tolerance))].map((y) => ({ label: `tolerance ${y}`, y })),
    height: 480,
  });
  const worst = curvesOf(rows.map((row) => ({ ...row, pair: '' }))).flatMap((curve) =>
    groups(curve, (row) => String(row.multiple)).map((same) => ({ ...same[0]!, folds: Math.max(...same.map((row) => row.folds ?? 0)) })),
  );
  const folds = chart({
    title: 'Folded voxels, the worst pair',
    x,
    y: { label: '% of voxels inside the labels', min: 0 },
    series: seriesOf(worst, (row) => row.folds),
    height: 480,
  });
  return { ...Object.fromEntries(dices), '-residual.svg': residual, '-folds.svg': folds };
}

/** Residuals of the longest runs, a column a curve. */
function residualTable(traces: readonly Trace[]): string {
  const length = Math.max(...traces.map(({ residuals }) => residuals.length));
  return csv(
    Array.from({ length }, (_, k) => ({
      evaluation: k + 1,
      ...Object.fromEntries(
        traces.map(({ pair, model, seed, solver, residuals }) => [
          [pair, model, ...(seed === null ? [] : [`seed ${seed}`]), solver].join(' · '),
          residuals[k]?.toPrecision(4),
        ]),
      ),
    })),
  );
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean' },
      pairs: { type: 'string' },
      weights: { type: 'string' },
      only: { type: 'string' },
      levels: { type: 'string' },
      multiples: { type: 'string' },
      json: { type: 'string' },
    },
  });
  const numbers = (text: string) => text.split(',').map(Number);
  const gpu = await openGpu();
  const { info } = gpu;
  const levels = values.levels ? numbers(values.levels) : values.quick ? LEVELS.slice(0, 2) : LEVELS;
  const multiples = values.multiples ? numbers(values.multiples) : MULTIPLES[info.software || values.quick ? 'software' : 'gpu'];
  if (!multiples.every((k, i) => Number.isInteger(k) && k > (multiples[i - 1] ?? 0)))
    throw new Error(`--multiples: rising whole numbers above 0, got ${values.multiples}`);
  const pairs = pairsOf(Number(values.pairs ?? (values.quick || info.software ? 1 : 3)));
  if (!pairs.length) throw new Error(`no brains in ${dataFolder}; set DEQREG_DATA to a folder with brain/`);
  const all = (await subjects(values.weights ?? 'bench/weights')).filter(({ kind }) => kind.includes(values.only ?? ''));
  const models = values.quick ? groups(all, ({ kind }) => kind).map(([first]) => first!) : all;
  const rows: Row[] = [],
    traces: Trace[] = [];
  for (const pair of pairs) {
    const images = await readPair(gpu, pair);
    for (const subject of models) {
      for (const solver of Object.keys(SOLVERS) as Row['solver'][]) {
        const started = performance.now();
        const { rows: measured, residuals } = await measure(gpu, images, subject, solver, levels, multiples);
        rows.push(...measured);
        if (values.json) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
        traces.push({ pair: pair.name, model: subject.kind, seed: subject.seed, solver, residuals });
        const shown = measured.map((row) => `${times(row.multiple)} ${f4(row.dice) || 'diverged'} (${row.residual?.toPrecision(2) ?? ''})`);
        console.error(
          `${pair.name}, ${subject.kind}, seed ${subject.seed}, ${solver}: ${shown.join(', ')}; ${((performance.now() - started) / 1e3).toFixed(0)} s`,
        );
      }
    }
  }
  gpu.close();

  const name = reportName('stability', info);
  const files = charts(rows, traces);
  const given = Object.entries(values).filter(([key]) => key !== 'json' && key !== 'weights');
  const twins = models.some(({ kind }) => kind.startsWith('unrolled'));
  writeReport(
    'stability',
    'Beyond the training steps: does the result stay?',
    info,
    ['node build.mjs bench stability', ...given.map(([key, value]) => (value === true ? `--${key}` : `--${key} ${value}`))].join(' '),
    [
      findings(rows),
      ...(twins ? [] : [`No unrolled twins were there (${values.weights ?? 'bench/weights'}).`]),
      protocol(levels, models),
      ...pairs.map((pair, i) => `![Dice against multiples, ${pair.name}](${name}${i ? `-pair-${i + 1}` : ''}.svg)`),
      `![Residual against evaluations](${name}-residual.svg)`,
      `![Folds against multiples](${name}-folds.svg)`,
      '## Every run',
      claimTable(rows),
      ...groups(rows, (row) => row.pair).flatMap((some) => [`## Dice, ${some[0]!.pair} (${f4(some[0]!.before)} before)`, diceTable(some)]),
    ],
    { '.csv': csv(rows.map((row) => ({ ...row }))), '-residuals.csv': residualTable(traces), ...files },
  );
}

/** How it was done, for the report. */
function protocol(levels: readonly number[], models: readonly Subject[]): string {
  const trained = groups(models, ({ kind }) => kind).map(([{ kind, trained }]) => `${kind} ${trained}`);
  return (
    `A registration on levels ${levels.join(', ')} (multiples of the finest spacing), coarse to fine, in which every level takes exactly k times the evaluations of the cell that it had in training: ` +
    `${trained.join(', ')} (T of the unrolled twins; the largest budget of the DEQ's solver; the classical cell is not trained: the default budget of its finest level). ` +
    'No tolerance ends a level, and the running iterate counts, not the best one so far, which is what a registration returns. Each multiple is a registration of its own, since coarser levels move the start of finer ones. ' +
    'Plain: u ← f(u). Anderson: a window of 5. Dice: mean over the labels at full resolution; folds inside the labels. Residual: RMS of f(u) − u on the finest level, in its voxels, at the last evaluation. ' +
    `Converged: the residual is at the model's own tolerance at this and every later multiple. Degraded: Dice ends more than ${SPREAD} below its best.`
  );
}
