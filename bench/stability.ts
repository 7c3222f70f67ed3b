// Does a result stay where it is when the solver runs on? The trained DEQ, unrolled twins of the same cell and the classical cell, by plain
// steps, by damped ones and by Anderson, for 1 to 20 times the evaluations that they were trained with, on pairs that none was trained on.
//   node build.mjs bench stability [--quick] [--pairs 3] [--weights bench/weights] [--only WORDS] [--levels 8,4,2] [--multiples 1,2,5,20] [--keep]
//     [--json FILE]
// On a GPU three pairs and six multiples; on a software adapter one pair and four multiples, about 75 minutes on two cores for two DEQs
// and four twins. --quick: one pair at quarter resolution, three multiples, one seed of each kind. --only: the curves with these words in their
// names, such as "DEQ (jfb), Anderson", or several of them, as "Anderson|T = 6, seed 1, plain|subA, damped". Other levels than the whole pyramid make a report of their own.
// --keep: the curves of the report that is there stay, and only others are run.
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { andersonOptions } from '../src/deq/solver.ts';
import { openGpu } from '../src/node.ts';
import { dataFolder } from '../test/data.ts';
import { chart, type Series } from './chart.ts';
import {
  claimTable,
  curvesOf,
  diceTable,
  f4,
  findings,
  groups,
  headline,
  parseRows,
  restTable,
  type Row,
  type Solver,
  SPREAD,
  times,
} from './claims.ts';
import { RESULTS } from './page.ts';
import { type Images, LEVELS, measure, pairsOf, readPair, SOLVERS, type Subject, subjects } from './probes/stability-runs.ts';
import { csv, provenance, records, reportName, writeReport } from './report.ts';

/** What the finest level is called. */
const RESOLUTIONS: Record<number, string> = { 1: 'full', 2: 'half', 4: 'quarter' };
const MULTIPLES = { gpu: [1, 2, 3, 5, 10, 20], software: [1, 2, 5, 20], quick: [1, 4, 20] };

const LOOKS = { Anderson: 'curve', damped: 'dotted', plain: 'dashed' } as const;

/** What tells a curve from the others. */
type Curve = Pick<Row, 'pair' | 'model' | 'seed' | 'solver'>;
type Trace = Curve & { residuals: number[] };

const nameOf = ({ pair, model, seed, solver }: Curve): string =>
  [pair, model, ...(seed === null ? [] : [`seed ${seed}`]), solver].join(' · ');

/** Charts: Dice a pair, residuals of the first pair, folds at their worst over the pairs. A colour a model, a line a seed. */
function charts(rows: readonly Row[], traces: readonly Trace[]): Record<string, string> {
  const models = [...new Set(rows.map((row) => row.model))];
  const look = ({ model, solver }: Pick<Row, 'model' | 'solver'>): Omit<Series, 'points'> => ({
    label: `${model}, ${solver}`,
    colour: models.indexOf(model),
    as: LOOKS[solver],
  });
  const x = { label: 'evaluations a level, in multiples of those in training', log: 2, min: 1 } as const;
  const seriesOf = (some: readonly Row[], value: (row: Row) => number | null): Series[] =>
    curvesOf(some).map((curve) => ({
      ...look(curve[0]),
      points: curve.flatMap((row) => (value(row) === null ? [] : [[row.multiple, value(row)!] as const])),
    }));
  const pairs = groups(rows, (row) => row.pair);
  const dices = pairs.map((some, i) => [
    i ? `-pair-${i + 1}.svg` : '.svg',
    chart({ title: `Dice, ${some[0].pair}`, x, y: { label: 'mean Dice' }, series: seriesOf(some, (row) => row.dice), height: 480 }),
  ]);
  const first = traces.filter((trace) => trace.pair === rows[0].pair);
  const residual = chart({
    title: `Residual on the finest level, ${rows[0].pair}`,
    x: { label: 'evaluations of the cell', min: 0 },
    y: { label: 'RMS of f(u) − u, voxels', log: 10 },
    series: first.map((trace) => ({
      ...look(trace),
      as: trace.solver === 'Anderson' ? 'line' : LOOKS[trace.solver],
      points: trace.residuals.flatMap((r, k) => (Number.isFinite(r) && r > 0 ? [[k + 1, r] as const] : [])),
    })),
    marks: [...new Set(rows.map((row) => row.tolerance))].map((y) => ({ label: `tolerance ${y}`, y })),
    height: 480,
  });
  const worst = curvesOf(rows.map((row) => ({ ...row, pair: '' }))).flatMap((curve) =>
    groups(curve, (row) => String(row.multiple)).map((same) => ({ ...same[0], folds: Math.max(...same.map((row) => row.folds ?? 0)) })),
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
      ...Object.fromEntries(traces.map((trace) => [nameOf(trace), trace.residuals[k]?.toPrecision(4)])),
    })),
  );
}

/** The curves of a report by name, and which report that is. */
function curvesIn(report: string): { of: string; curves: Map<string, { rows: Row[]; residuals: number[] }> } {
  const text = (suffix: string) => readFileSync(`${RESULTS}/${report}${suffix}`, 'utf8');
  const lines = records(text('-residuals.csv'));
  const residuals = (name: string) => lines.flatMap((cells) => (cells[name] ? Number(cells[name]) : []));
  const curves = curvesOf(parseRows(text('.csv'))).map(
    (rows) => [nameOf(rows[0]), { rows, residuals: residuals(nameOf(rows[0])) }] as const,
  );
  return { of: provenance(text('.md'), 'curves'), curves: new Map(curves) };
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
      keep: { type: 'boolean' },
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
  const finest = levels.at(-1)!;
  const resolution = RESOLUTIONS[finest] ?? `level-${finest}`;
  const bench = finest === LEVELS.at(-1) ? 'stability' : `stability-${resolution}`;
  const name = reportName(bench, info);
  const earlier = values.keep ? curvesIn(name) : undefined;
  const only = (values.only ?? '').split('|');
  const wanted = (curve: Curve) => only.some((words) => words.split(', ').every((word) => nameOf(curve).includes(word)));
  const solvers = Object.keys(SOLVERS) as Solver[];
  const curvesOn = (pair: string, { kind, seed }: Subject) => solvers.map((solver): Curve => ({ pair, model: kind, seed, solver }));
  const all = (await subjects(values.weights ?? 'bench/weights')).filter(
    (subject) => earlier || pairs.some(({ name }) => curvesOn(name, subject).some(wanted)),
  );
  if (!all.length) throw new Error(`--only: no curve has ${values.only} in its name, which is such as "DEQ (jfb), seed 1, Anderson"`);
  const models = values.quick ? groups(all, ({ kind }) => kind).map(([first]) => first) : all;
  const rows: Row[] = [],
    traces: Trace[] = [];
  let kept = 0;
  for (const pair of pairs) {
    let images: Images | undefined;
    for (const subject of models) {
      for (const curve of curvesOn(pair.name, subject)) {
        const { solver } = curve;
        const known = earlier?.curves.get(nameOf(curve));
        if (known) {
          rows.push(...known.rows);
          traces.push({ ...curve, residuals: known.residuals });
          kept++;
        }
        if (known || !wanted(curve)) continue;
        const started = performance.now();
        images ??= await readPair(gpu, pair);
        const { rows: measured, residuals } = await measure(gpu, images, subject, solver, levels, multiples);
        rows.push(...measured);
        if (values.json) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
        traces.push({ ...curve, residuals });
        const shown = measured.map((row) => `${times(row.multiple)} ${f4(row.dice) || 'diverged'} (${row.residual?.toPrecision(2) ?? ''})`);
        console.error(
          `${pair.name}, ${subject.kind}, seed ${subject.seed}, ${solver}: ${shown.join(', ')}; ${((performance.now() - started) / 1e3).toFixed(0)} s`,
        );
      }
    }
  }
  gpu.close();

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
      restTable(rows),
      'At rest: the residual of the result is at the tolerance of the model’s registrations in the end.',
      findings(rows),
      ...(twins ? [] : [`No unrolled twins were there (${values.weights ?? 'bench/weights'}).`]),
      ...pairs.map((pair, i) => `![Dice against multiples, ${pair.name}](${name}${i ? `-pair-${i + 1}` : ''}.svg)`),
      `![Residual against evaluations](${name}-residual.svg)`,
      `![Folds against multiples](${name}-folds.svg)`,
      '## How',
      protocol(levels, models),
      ...(earlier ? [`${kept} of the ${traces.length} curves are those of the report of ${earlier.of}.`] : []),
      '## Every run',
      claimTable(rows),
      ...groups(rows, (row) => row.pair).flatMap((some) => [`## Dice, ${some[0].pair} (${f4(some[0].before)} before)`, diceTable(some)]),
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
    'Of every trained model, twins too, the weights are those of the training step with the best Dice of subA/subB, registered by Anderson: that pair chose them. ' +
    'No tolerance ends a level. The result of Anderson is its best iterate, and its window and damping are those of every registration (beside it: the iterate at the last evaluation), that of plain and damped steps the last one, as in the training of the twins, which is by plain steps. Each multiple is a registration of its own, since coarser levels move the start of finer ones. ' +
    `Plain: u ← f(u). Damped: u ← u + ${beta} (f(u) − u). Anderson: a window of ${window}, β = ${beta}. Dice: mean over the labels at full resolution; folds inside the labels. Residual: RMS of f(u) − u on the finest level, in its voxels. ` +
    `Converged: the residual is at the model's own tolerance at this and every later multiple. Degraded: Dice ends more than ${SPREAD} below its best.`
  );
}
