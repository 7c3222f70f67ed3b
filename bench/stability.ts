// Does a result stay where it is when the solver runs on? The trained DEQ, unrolled twins of the same cell and the classical cell, by plain
// steps and by Anderson, for 1 to 20 times the evaluations that they were trained with, on pairs that none was trained on.
//   node build.mjs bench stability [--quick] [--pairs 3] [--weights bench/weights] [--only WORD] [--levels 8,4,2] [--multiples 1,2,5,20] [--json FILE]
// On a GPU three pairs and six multiples; on a software adapter one pair and four multiples, about 50 minutes on two cores for three DEQs and
// four twins. --quick: one pair at quarter resolution, three multiples, one seed of each kind. --only: the kinds with this word in their name.
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type ModelFile, readModelFile } from '../src/cli/models.ts';
import { iterate, type Method, type Outcome } from '../src/deq/solver.ts';
import type { Gpu } from '../src/gpu/device.ts';
import { Graph, type Shape, type Tensor } from '../src/graph/graph.ts';
import { Schedule } from '../src/graph/schedule.ts';
import { composeAffine, invertAffine, voxelToVoxel } from '../src/io/affine.ts';
import type { Volume } from '../src/io/volume.ts';
import type { Model } from '../src/models/cells.ts';
import { openGpu, readVolume } from '../src/node.ts';
import { identity, warpFull } from '../src/ops/index.ts';
import { alignAffine } from '../src/register/affine.ts';
import { type IntensityWindow, intensityWindow } from '../src/register/intensity.ts';
import { dice, presentLabels, visitDeterminants, warpLabels } from '../src/register/metrics.ts';
import { resolveOptions, type ResolvedOptions } from '../src/register/options.ts';
import { shapeOf } from '../src/register/pyramid.ts';
import { FINISH, PREPARE, traceRegistration } from '../src/register/trace.ts';
import { trainedEvaluations } from '../src/register/model.ts';
import { brainGroups, type Case, dataFolder, realCases } from '../test/data.ts';
import { chart, type Series } from './chart.ts';
import { CLASSICAL, claimTable, curvesOf, diceTable, f4, findings, groups, headline, type Row, SPREAD, times } from './claims.ts';
import { csv, reportName, writeReport } from './report.ts';

const SOLVERS: Record<Row['solver'], Method> = { Anderson: { method: 'anderson' }, plain: { method: 'picard' } };
/** Levels that models are trained for, where they do not say; of `--quick`, the first two. */
const LEVELS = [8, 4, 2];
const MULTIPLES = { gpu: [1, 2, 3, 5, 10, 20], software: [1, 2, 5, 20], quick: [1, 4, 20] };
const SHIPPED = 'weights/brain-mri.safetensors';

interface Subject {
  kind: string;
  seed: number | null;
  /** Evaluations of the cell on a level while it was trained. */
  trained: number;
  /** Training step that its weights are of. */
  step?: number;
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
      step: card.steps,
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
    solver: { method: SOLVERS[solver], ends: solver === 'Anderson' ? 'best' : 'last' },
  });
  const finest = traced.levels.at(-1)!;
  const { z, best } = finest.iteration;
  [z, best].forEach((t) => traced.graph.output(t));
  const schedule = await Schedule.build(gpu, traced.graph);
  const finish = await finisher(gpu, images, finest.value.shape);
  const rows: Row[] = [];
  let residuals: number[] = [];
  try {
    for (const multiple of multiples) {
      const iterations = multiple * subject.trained;
      schedule.upload(traced.fixed, fixed.data);
      schedule.upload(traced.moving, moving.data);
      if (model) traced.parameters!.upload(schedule, model.values);
      schedule.run(PREPARE);
      let outcome: Outcome | undefined;
      for (const { iteration } of traced.levels) {
        if (solver === 'plain' && outcome?.result === 'non-finite') break;
        schedule.run(`${iteration.name}.images`);
        // Nothing ends a level before its evaluations but a value that is not finite (or a residual of 0, which stays).
        const rule = { maxIterations: iterations, rtol: 0, atol: 0, patience: Infinity, divergence: Infinity };
        outcome = await iterate(schedule, iteration, rule);
      }
      residuals = outcome!.residuals;
      const finite = outcome!.result !== 'non-finite';
      const measured = async (u: Tensor, residual: number) => {
        const field = await finish.apply(await schedule.read(u));
        return { dice: overlapOf(images, field), folds: foldsOf(field, fixedSeg), residual };
      };
      const last = finite ? await measured(z, residuals.at(-1)!) : { dice: null, folds: null, residual: null };
      rows.push({
        pair: images.name,
        model: subject.kind,
        seed: subject.seed,
        solver,
        multiple,
        iterations,
        ...(solver === 'plain' ? last : await measured(best, outcome!.residual)),
        tolerance: options.tolerance.at(-1)!,
        lastDice: last.dice,
        lastResidual: last.residual,
        before,
      });
    }
  } finally {
    schedule.destroy();
    finish.destroy();
  }
  return { rows, residuals };
}

/** A level's field as the whole displacement at full resolution, [3, D, H, W] in voxels of the fixed grid. */
async function finisher(gpu: Gpu, { fixed, transform }: Images, shape: Shape) {
  const graph = new Graph();
  const u = graph.input('u', shape);
  const image = graph.input('image', [1, 1, ...shapeOf(fixed)]);
  const toFixed = composeAffine(invertAffine(fixed.affine), composeAffine(transform, fixed.affine));
  const displacement = graph.phase(FINISH, () => {
    const { displacement } = warpFull(u, image, shapeOf(fixed), toFixed, identity);
    return displacement.map((t) => graph.output(t));
  });
  const schedule = await Schedule.build(gpu, graph);
  return {
    async apply(value: Float32Array): Promise<Float32Array> {
      schedule.upload(u, value);
      schedule.upload(image, fixed.data);
      schedule.run(FINISH);
      const all = new Float32Array(3 * fixed.data.length);
      for (const [c, component] of displacement.entries()) all.set(await schedule.read(component), c * fixed.data.length);
      return all;
    },
    destroy: () => schedule.destroy(),
  };
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
  const multiples = values.multiples ? numbers(values.multiples) : MULTIPLES[values.quick ? 'quick' : info.software ? 'software' : 'gpu'];
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
      headline(rows),
      findings(rows),
      ...(twins ? [] : [`No unrolled twins were there (${values.weights ?? 'bench/weights'}).`]),
      ...pairs.map((pair, i) => `![Dice against multiples, ${pair.name}](${name}${i ? `-pair-${i + 1}` : ''}.svg)`),
      `![Residual against evaluations](${name}-residual.svg)`,
      `![Folds against multiples](${name}-folds.svg)`,
      '## How',
      protocol(levels, models),
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
    `Weights: ${models.flatMap(({ kind, seed, step }) => (step ? [`${kind}, seed ${seed}, of training step ${step}`] : [])).join('; ')}. ` +
    'No tolerance ends a level. The result of Anderson is its best iterate, as in every registration (beside it: the iterate at the last evaluation), that of plain steps the last one, as in the training of the twins. Each multiple is a registration of its own, since coarser levels move the start of finer ones. ' +
    'Plain: u ← f(u). Anderson: a window of 5. Dice: mean over the labels at full resolution; folds inside the labels. Residual: RMS of f(u) − u on the finest level, in its voxels. ' +
    `Converged: the residual is at the model's own tolerance at this and every later multiple. Degraded: Dice ends more than ${SPREAD} below its best.`
  );
}
