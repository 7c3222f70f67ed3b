// Which gradient trains best at equal cost: the same cell, seed, pairs and time under every adjoint, then validated by registration.
//   node build.mjs bench training [--data FILE] [--minutes M] [--levels 8,4] [--json FILE]
// Without a data list it trains on synthetic brains.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { openGpu } from '../src/node.ts';
import { demoData, readTrainingData } from '../src/cli/training-data.ts';
import { valuesOf } from '../src/train/checkpoint.ts';
import { modelOf, resolveTrainOptions, type TrainOptions } from '../src/train/options.ts';
import { type StepRecord, train } from '../src/train/train.ts';
import { validatePairs } from '../src/train/validate.ts';
import { table, writeReport } from './report.ts';

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
/** Steps over which the last loss is averaged. */
const LAST = 20;

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { data: { type: 'string' }, minutes: { type: 'string' }, levels: { type: 'string' }, json: { type: 'string' } },
  });
  const minutes = Number(values.minutes ?? 3);
  const levels = (values.levels ?? '8,4').split(',').map(Number);
  const gpu = await openGpu();
  const note = (text: string) => console.error(text);
  const data = values.data ? await readTrainingData(values.data, gpu, levels.at(-1)!, note) : await demoData(gpu, levels.at(-1)!);
  const rows: Record<string, string | number>[] = [];
  for (const gradient of GRADIENTS) {
    const options = resolveTrainOptions({
      ...gradient,
      stages: [{ levels, steps: ENDLESS }],
      window: values.data ? 11 : 7,
      averaging: 0.95,
      checkpointEvery: ENDLESS,
      validateEvery: ENDLESS,
    });
    const records: StepRecord[] = [];
    const [cpu, wall] = [process.cpuUsage(), performance.now()];
    /** Minutes: of all threads where the driver computes on the CPU, which may be busy with other things too; else by the clock. */
    const spent = () =>
      gpu.info.software ? Object.values(process.cpuUsage(cpu)).reduce((a, b) => a + b) / 6e7 : (performance.now() - wall) / 6e4;
    const stop = () => spent() > minutes;
    const trained = await train(gpu, data.set, data.labels, options, { onStep: (record) => records.push(record), stop });
    const cost = 60 * spent();
    const model = modelOf(options, data.modality, valuesOf(trained.tensors, 'average'));
    const { figures } = await validatePairs(gpu, model, data.validation, levels);
    const last = records.slice(-LAST);
    const mean = (of: (record: StepRecord) => number) => last.reduce((sum, record) => sum + of(record) / last.length, 0);
    rows.push({
      gradient: `${gradient.adjoint}, ${gradient.similarity}${gradient.unrolledSteps ? `, T = ${gradient.unrolledSteps}` : ''}`,
      steps: records.length,
      secondsAStep: cost / records.length,
      solverSteps: mean((record) => record.solverSteps),
      loss: mean((record) => record.loss),
      gradientNorm: mean((record) => record.gradientNorm),
      peakBytes: records[0]!.peakBytes,
      ...figures,
    });
    note(JSON.stringify(rows.at(-1)));
  }
  const { info } = gpu;
  gpu.close();
  if (values.json) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
  const fixed = (value: string | number | undefined, digits: number) => (typeof value === 'number' ? value.toFixed(digits) : (value ?? ''));
  writeReport(
    'training',
    'Which gradient trains best',
    info,
    ['node build.mjs bench training', ...(values.data ? ['--data FILE'] : []), `--minutes ${minutes} --levels ${levels}`].join(' '),
    [
      finding(rows),
      `The \`deqreg\` cell, ${resolveTrainOptions({}).channels} channels, trained for ${minutes} minutes${info.software ? ' of CPU time' : ''} each at 1/${levels.join(' and 1/')} resolution on ${data.told.data}: the same seed, and so the ` +
        'same pairs, augmentations and solver budgets in the same order; a constant rate. Validation: registration of pairs that were not trained on, on the same levels, by the moving average of the weights. One run each, with one seed: ' +
        'how much another seed changes was not measured.',
      table(
        [
          'gradient, similarity',
          'steps',
          's a step',
          'evaluations a step',
          'loss',
          'gradient norm',
          'MiB',
          'Dice',
          'TRE mm',
          'LNCC',
          'folds %',
          'residual, voxel',
        ],
        rows.map((row) => [
          row.gradient!,
          row.steps!,
          fixed(row.secondsAStep, 2),
          fixed(row.solverSteps, 1),
          fixed(row.loss, 4),
          fixed(row.gradientNorm, 3),
          fixed(Number(row.peakBytes) / 2 ** 20, 0),
          fixed(row.dice, 4),
          fixed(row.tre, 2),
          fixed(row.lncc, 4),
          fixed(row.foldingPercent, 4),
          fixed(row.residual, 4),
        ]),
      ),
    ],
  );
}

/** Which gradient came out first, by what the pairs are judged by, and what the others lack; memory of the least and of the most. */
function finding(rows: readonly Record<string, string | number>[]): string {
  const measure = ['dice', 'tre', 'lncc'].find((name) => rows.every((row) => typeof row[name] === 'number'))!;
  const sign = measure === 'tre' ? -1 : 1;
  const sorted = rows.slice().sort((a, b) => sign * (Number(b[measure]) - Number(a[measure])));
  const word = { dice: 'Dice', tre: 'TRE in mm', lncc: 'LNCC' }[measure]!;
  const told = sorted.map(({ gradient, [measure]: value, steps }) => `${gradient} ${Number(value).toFixed(4)} (${steps} steps)`);
  const bytes = rows.slice().sort((a, b) => Number(a.peakBytes) - Number(b.peakBytes));
  const memory = ({ gradient, peakBytes }: Record<string, string | number>) =>
    `${gradient} with ${(Number(peakBytes) / 2 ** 20).toFixed(0)} MiB`;
  return `**Best ${word} first: ${told.join('; ')}.** Least memory: ${memory(bytes[0]!)}; most: ${memory(bytes.at(-1)!)}.`;
}
