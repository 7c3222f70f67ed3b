// Which gradient trains best at equal cost: the same cell, seeds, pairs and time under every adjoint. Each is judged by the objective
// at the fixed point, on the training pairs as they are, and by registrations of pairs that were not trained on.
//   node build.mjs bench training [--data FILE] [--minutes M] [--seeds 1,2] [--levels 8,4] [--json FILE] [--from FILE]
// Without a data list it trains on synthetic brains. --from: the report of what --json wrote, with the same other options.
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Gpu, openGpu, readDataList } from '../src/node.ts';
import { Schedule } from '../src/graph/schedule.ts';
import type { ParameterValues } from '../src/models/parameters.ts';
import { demoData, readTrainingData, type TrainingData } from '../src/cli/training-data.ts';
import { valuesOf } from '../src/train/checkpoint.ts';
import { modelOf, resolveTrainOptions, type TrainOptions } from '../src/train/options.ts';
import { beginTraining, runTrainingStep } from '../src/train/step.ts';
import { type StepRecord, traceStage, train } from '../src/train/train.ts';
import { validatePairs } from '../src/train/validate.ts';
import { groups } from './claims.ts';
import { type Run, table, thisRun, writeReport } from './report.ts';

/** Gradients that are compared. */
const GRADIENTS: Pick<Partial<TrainOptions>, 'adjoint' | 'similarity' | 'unrolledSteps'>[] = [
  { adjoint: 'jfb', similarity: 'detached' },
  { adjoint: 'phantom', similarity: 'detached' },
  { adjoint: 'implicit', similarity: 'detached' },
  { adjoint: 'implicit', similarity: 'exact' },
  { adjoint: 'unrolled', similarity: 'detached', unrolledSteps: 6 },
];
/** More steps than any run takes in its time: the rate stays what it is. */
const ENDLESS = 100_000;
/** Of the weights: over the last few steps only, so that the start does not count however few steps a gradient gets in its time. */
const AVERAGING = 0.8;
/** Of the solves at whose end the objective is taken: evaluations at most, RMS residual in voxels. */
const SOLVE = { maxIterations: 60, tolerance: 0.002 };
const UNTRAINED = 'untrained';

interface Row {
  gradient: string;
  seed: number;
  steps: number;
  secondsAStep: number;
  /** Evaluations of the cell a step. */
  evaluations: number;
  gradientNorm: number;
  peakBytes: number;
  /** Mean loss of the training pairs, not augmented, at the fixed point of the moving averages. */
  objective: number;
  /** Of the validation pairs. */
  figures: Record<string, number>;
}

/** What `--json` writes and `--from` reads. */
interface Found {
  run: Run;
  rows: Row[];
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: 'string' },
      minutes: { type: 'string' },
      seeds: { type: 'string' },
      levels: { type: 'string' },
      json: { type: 'string' },
      from: { type: 'string' },
    },
  });
  const minutes = Number(values.minutes ?? 3);
  const numbers = (text: string) => text.split(',').map(Number);
  const levels = numbers(values.levels ?? '8,4');
  const seeds = numbers(values.seeds ?? '1');
  const gpu = await openGpu();
  const note = (text: string) => console.error(text);
  const data = values.data
    ? await readTrainingData(await readDataList(values.data), gpu, levels.at(-1)!, note, (lines) => lines.forEach(note))
    : await demoData(gpu, levels.at(-1)!);
  const common = {
    stages: [{ levels, steps: ENDLESS }],
    window: values.data ? 11 : 7,
    warmUp: 0,
    averaging: AVERAGING,
    checkpointEvery: ENDLESS,
    validateEvery: ENDLESS,
  };
  const found: Found = values.from ? JSON.parse(readFileSync(values.from, 'utf8')) : { run: thisRun(), rows: [] };
  const { run, rows } = found;
  const judge = async (options: TrainOptions, weights: ParameterValues | undefined, told: Omit<Row, 'objective' | 'figures'>) => {
    const judged = await objectiveOf(gpu, data, options, weights);
    const { figures } = await validatePairs(gpu, modelOf(options, data.modality, judged.weights), data.validation, levels);
    rows.push({ ...told, objective: judged.objective, figures });
    note(JSON.stringify(rows.at(-1)));
    if (values.json) writeFileSync(values.json, `${JSON.stringify(found, null, 2)}\n`);
  };
  for (const seed of values.from ? [] : seeds) {
    const none = { steps: 0, secondsAStep: 0, evaluations: 0, gradientNorm: 0, peakBytes: 0 };
    await judge(resolveTrainOptions({ ...common, seed }), undefined, { gradient: UNTRAINED, seed, ...none });
    for (const gradient of GRADIENTS) {
      const options = resolveTrainOptions({ ...common, ...gradient, seed });
      const { adjoint, similarity, unrolledSteps } = gradient;
      const records: StepRecord[] = [];
      const [cpu, wall] = [process.cpuUsage(), performance.now()];
      /** Minutes: of all threads where the driver computes on the CPU, which may be busy with other things too; else by the clock. */
      const spent = () =>
        gpu.info.software ? Object.values(process.cpuUsage(cpu)).reduce((a, b) => a + b) / 6e7 : (performance.now() - wall) / 6e4;
      const stop = () => spent() > minutes;
      const trained = await train(gpu, data.set, data.labels, options, { onStep: (record) => records.push(record), stop });
      const cost = 60 * spent();
      await judge(options, valuesOf(trained.tensors, 'average'), {
        gradient: `${adjoint}, ${similarity}${unrolledSteps ? `, T = ${unrolledSteps}` : ''}`,
        seed,
        steps: records.length,
        secondsAStep: cost / records.length,
        evaluations: unrolledSteps ? unrolledSteps * levels.length : mean(records.map(({ solverSteps }) => solverSteps)),
        gradientNorm: mean(records.map(({ gradientNorm }) => gradientNorm)),
        peakBytes: records[0].peakBytes,
      });
    }
  }
  const { info } = gpu;
  gpu.close();
  const given = Object.entries(values).filter(([name]) => name !== 'json' && name !== 'from');
  writeReport(
    'training',
    'Which gradient trains best',
    info,
    ['node build.mjs bench training', ...given.map(([name, value]) => (name === 'data' ? '--data FILE' : `--${name} ${value}`))].join(' '),
    [
      finding(rows),
      protocol(data, resolveTrainOptions(common), minutes, info.software),
      '## Means over the seeds',
      meanTable(rows),
      '## Every run',
      runTable(rows),
    ],
    {},
    run,
  );
}

/**
 * The mean loss over pairs of neighbours in the list of training images, at the fixed point, and the weights: those given, or the first
 * ones.
 */
async function objectiveOf(gpu: Gpu, { set, labels }: TrainingData, options: TrainOptions, weights?: ParameterValues) {
  if (set.subjects.length < 2) throw new Error('bench training: needs two training images or more');
  const plain: TrainOptions = { ...options, adjoint: 'jfb', augmentation: 'none' };
  const traced = traceStage(plain, set, plain.stages[0], labels);
  const { parameters } = traced.cell;
  const schedule = await Schedule.build(gpu, traced.graph);
  const values = weights ?? parameters.initial(options.seed);
  const losses: number[] = [];
  try {
    beginTraining(schedule, traced, options.seed);
    parameters.upload(schedule, values);
    for (const [i, fixed] of set.subjects.entries()) {
      const moving = set.subjects[(i + 1) % set.subjects.length];
      const maps = traced.inputs.labelled && fixed.labels && moving.labels && { fixed: fixed.labels, moving: moving.labels };
      const pair = { fixed: fixed.image, moving: moving.image, labels: maps };
      losses.push((await runTrainingStep(schedule, traced, pair, { rate: 0, ...SOLVE })).loss); // a rate of 0 moves no weight
    }
  } finally {
    schedule.destroy();
  }
  return { objective: mean(losses), weights: values };
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Means over the seeds, the lowest objective first. */
function byGradient(rows: readonly Row[]): { gradient: string; rows: Row[]; objective: number }[] {
  const means = groups(rows, ({ gradient }) => gradient).map((some) => ({
    gradient: some[0].gradient,
    rows: some,
    objective: mean(some.map(({ objective }) => objective)),
  }));
  return means.sort((a, b) => a.objective - b.objective);
}

/** Which gradient lowered the objective most, where the default stands, and what memory they take. */
function finding(rows: readonly Row[]): string {
  const sorted = byGradient(rows);
  const start = sorted.find(({ gradient }) => gradient === UNTRAINED)!.objective;
  const trained = sorted.filter(({ gradient }) => gradient !== UNTRAINED);
  const { adjoint, similarity } = resolveTrainOptions({});
  const own = trained.findIndex(({ gradient }) => gradient === `${adjoint}, ${similarity}`);
  const spread = Math.max(...trained.map(({ rows: runs }) => range(runs.map((r) => r.objective))));
  const told = trained.map(({ gradient, objective }) => `${gradient} ${objective.toFixed(4)}`);
  const bytes = rows.filter(({ steps }) => steps).sort((a, b) => a.peakBytes - b.peakBytes);
  const memory = ({ gradient, peakBytes }: Row) => `${gradient} with ${(peakBytes / 2 ** 20).toFixed(0)} MiB`;
  const [first] = trained as [(typeof trained)[number]];
  const behind = trained[own].objective - first.objective;
  const several = first.rows.length > 1;
  const alike = trained.filter(({ objective }) => objective - first.objective < spread).map(({ gradient }) => gradient);
  const verdict = !several
    ? 'One seed: how much another one moves an objective was not measured.'
    : alike.length > 1
      ? `Another seed moves an objective by up to ${spread.toFixed(4)}, so that ${alike.join('; ')} are not told apart; of these ${least(rows, alike)}.`
      : `Another seed moves an objective by up to ${spread.toFixed(4)}, less than what lies between the first two.`;
  return (
    `**The objective on the training pairs, ${start.toFixed(4)} untrained, lowest first: ${told.join('; ')}.** ${verdict} ` +
    `The default, ${adjoint}, is ${own ? `number ${own + 1} of ${trained.length}, ${behind.toFixed(4)} above the first` : `the first of ${trained.length}`}. ` +
    `Least memory: ${memory(bytes[0])}; most: ${memory(bytes.at(-1)!)}.`
  );
}

const range = (values: readonly number[]): number => Math.max(...values) - Math.min(...values);

/** Which of some gradients takes the least memory and which the shortest steps. */
function least(rows: readonly Row[], gradients: readonly string[]): string {
  const own = rows.filter(({ gradient }) => gradients.includes(gradient));
  const by = (of: (row: Row) => number) => own.reduce((a, b) => (of(b) < of(a) ? b : a)).gradient;
  const [small, quick] = [by((row) => row.peakBytes), by((row) => row.secondsAStep)];
  return `${small} takes the least memory${small === quick ? ' and' : `, ${quick}`} the shortest steps`;
}

function protocol({ set, told }: TrainingData, { channels, stages }: TrainOptions, minutes: number, software: boolean): string {
  return (
    `The \`deqreg\` cell, ${channels} channels, trained for ${minutes} minutes${software ? ' of CPU time' : ''} each at 1/${stages[0].levels.join(' and 1/')} resolution on ${told.data}: ` +
    'under every gradient the same weights to start from, and the same pairs, augmentations and solver budgets in the same order; a constant rate. ' +
    `Objective: the loss that training lowers (−LNCC, diffusion, and Dice where both images have labels), mean over the levels and over ${set.subjects.length} training pairs without augmentation, ` +
    `at the fixed point (to ${SOLVE.tolerance} voxel, ${SOLVE.maxIterations} evaluations at most) of the weights' moving average (decay ${AVERAGING}); so also for \`unrolled\`, which lowers it after its T steps only. ` +
    'Evaluations: of the forward and of the adjoint solve; of `unrolled`, T on each level forward. Validation: registrations of pairs that were not trained on, on the same levels. ' +
    'LNCC and Dice say less than the objective about a gradient: a smoother field has less of both.'
  );
}

const fixed = (value: number | undefined, digits: number) => value?.toFixed(digits) ?? '';
const figure = (rows: readonly Row[], name: string, digits: number) =>
  fixed(rows[0].figures[name] === undefined ? undefined : mean(rows.map(({ figures }) => figures[name])), digits);
const VALIDATION = ['Dice', 'TRE mm', 'LNCC', 'folds %', 'SDlogJ', 'residual, voxel'];
const validation = (rows: readonly Row[]) => [
  figure(rows, 'dice', 4),
  figure(rows, 'tre', 2),
  figure(rows, 'lncc', 4),
  figure(rows, 'foldingPercent', 4),
  figure(rows, 'sdLogJ', 3),
  figure(rows, 'residual', 4),
];

const meanTable = (rows: readonly Row[]): string =>
  table(
    ['gradient, similarity', 'seeds', 'steps', 'objective', ...VALIDATION],
    byGradient(rows).map(({ gradient, rows: runs, objective }) => [
      gradient,
      runs.length,
      mean(runs.map(({ steps }) => steps)).toFixed(0),
      objective.toFixed(4),
      ...validation(runs),
    ]),
  );

const runTable = (rows: readonly Row[]): string =>
  table(
    ['gradient, similarity', 'seed', 'steps', 's a step', 'evaluations a step', 'gradient norm', 'MiB', 'objective', ...VALIDATION],
    rows.map((row) => [
      row.gradient,
      row.seed,
      row.steps,
      ...(row.steps
        ? [fixed(row.secondsAStep, 2), fixed(row.evaluations, 1), fixed(row.gradientNorm, 3), fixed(row.peakBytes / 2 ** 20, 0)]
        : ['', '', '', '']),
      fixed(row.objective, 4),
      ...validation([row]),
    ]),
  );
