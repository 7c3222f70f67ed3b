// Does a result stay where it is when the solver runs on? The trained DEQ, unrolled twins of the same cell and the classical cell, by plain
// steps and by Anderson, for 1 to 20 times the evaluations that they were trained with, on pairs that none was trained on.
//   node build.mjs bench stability [--quick] [--pairs 3] [--weights bench/weights] [--only WORDS] [--levels 8,4,2] [--multiples 1,2,5,20] [--json FILE]
// On a GPU three pairs and six multiples; on a software adapter one pair and four multiples, about 50 minutes on two cores for two DEQs and
// four twins. --quick: one pair at quarter resolution, three multiples, one seed of each kind. --only: the curves with these words in their
// name, such as "DEQ (jfb), Anderson", or several of them, as "Anderson|T = 6, plain". Other levels than the whole pyramid make a report of their own.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { andersonOptions } from '../src/deq/solver.ts';
import { openGpu } from '../src/node.ts';
import { dataFolder } from '../test/data.ts';
import { chart, type Series } from './chart.ts';
import { claimTable, curvesOf, diceTable, f4, findings, groups, headline, type Row, SPREAD, times } from './claims.ts';
import { LEVELS, measure, pairsOf, readPair, SOLVERS, type Subject, subjects } from './probes/stability-runs.ts';
import { csv, reportName, writeReport } from './report.ts';

/** What the finest level is called. */
const RESOLUTIONS: Record<number, string> = { 1: 'full', 2: 'half', 4: 'quarter' };
const MULTIPLES = { gpu: [1, 2, 3, 5, 10, 20], software: [1, 2, 5, 20], quick: [1, 4, 20] };

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
  const only = (values.only ?? '').split('|');
  const solversOf = ({ kind }: Subject) =>
    (Object.keys(SOLVERS) as Row['solver'][]).filter((solver) => only.some((words) => `${kind}, ${solver}`.includes(words)));
  const all = (await subjects(values.weights ?? 'bench/weights')).filter((subject) => solversOf(subject).length);
  if (!all.length) throw new Error(`--only: no curve has ${values.only} in its name, which is such as "DEQ (jfb), Anderson"`);
  const models = values.quick ? groups(all, ({ kind }) => kind).map(([first]) => first!) : all;
  const rows: Row[] = [],
    traces: Trace[] = [];
  for (const pair of pairs) {
    const images = await readPair(gpu, pair);
    for (const subject of models) {
      for (const solver of solversOf(subject)) {
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

  const finest = levels.at(-1)!;
  const resolution = RESOLUTIONS[finest] ?? `level-${finest}`;
  const bench = finest === LEVELS.at(-1) ? 'stability' : `stability-${resolution}`;
  const name = reportName(bench, info);
  const files = charts(rows, traces);
  const given = Object.entries(values).filter(([key]) => key !== 'json');
  const quoted = (value: string) => (/[^\w,./-]/.test(value) ? `"${value}"` : value);
  const twins = models.some(({ kind }) => kind.startsWith('unrolled'));
  writeReport(
    bench,
    `Beyond the training steps: does the result stay at ${resolution} resolution?`,
    info,
    [
      'node build.mjs bench stability',
      ...given.map(([key, value]) => (value === true ? `--${key}` : `--${key} ${quoted(value as string)}`)),
    ].join(' '),
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

const named = ({ kind, seed }: Subject) => `${kind}, seed ${seed}`;

/** How it was done, for the report. */
function protocol(levels: readonly number[], models: readonly Subject[]): string {
  const { window, beta } = andersonOptions(SOLVERS.Anderson);
  const trained = groups(models, ({ kind }) => kind).map(([{ kind, trained }]) => `${kind} ${trained}`);
  const coarser = models.filter(({ finest }) => finest !== undefined && finest > levels.at(-1)!);
  const untouched = coarser.length
    ? ` The weights of ${coarser.map(named).join(', ')} were chosen before any training step on level ${levels.at(-1)}: there they do what they learned on coarser ones.`
    : '';
  return (
    `A registration on levels ${levels.join(', ')} (multiples of the finest spacing), coarse to fine, in which every level takes exactly k times the evaluations of the cell that it had in training: ` +
    `${trained.join(', ')} (T of the unrolled twins; the largest budget of the DEQ's solver; the classical cell is not trained: the default budget of its finest level). ` +
    `Weights: ${models.flatMap((model) => (model.step ? [`${named(model)}, of training step ${model.step}`] : [])).join('; ')}.${untouched} ` +
    'No tolerance ends a level. The result of Anderson is its best iterate, and its window and damping are those of every registration (beside it: the iterate at the last evaluation), that of plain steps the last one, as in the training of the twins. Each multiple is a registration of its own, since coarser levels move the start of finer ones. ' +
    `Plain: u ← f(u). Anderson: a window of ${window}, β = ${beta}. Dice: mean over the labels at full resolution; folds inside the labels. Residual: RMS of f(u) − u on the finest level, in its voxels. ` +
    `Converged: the residual is at the model's own tolerance at this and every later multiple. Degraded: Dice ends more than ${SPREAD} below its best.`
  );
}
