// Memory of one training step against the solver's steps, for every adjoint of the same cell: planned without a device; measured by the
// engine's ledger, and as resident memory, in a process of its own for each row. On a software adapter GPU memory is resident memory.
//   node build.mjs bench memory [--quick] [--json FILE]
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { adjoints } from '../src/deq/problem.ts';
import { plan } from '../src/graph/plan.ts';
import { openGpu } from '../src/node.ts';
import { adjointOf, traceTrainingStep, unitGrid } from '../src/train/step.ts';
import { table, writeReport } from './report.ts';

type Adjoint = (typeof adjoints)[number];
type Size = [number, number, number];

interface Row {
  adjoint: Adjoint;
  steps: number;
  size: Size;
  channels: number;
  plannedBytes: number;
  measuredBytes?: number;
  maxRssBytes?: number;
  seconds?: number;
  outcome?: string;
}

const CHANNELS = 16;
const STEPS = [1, 2, 4, 8, 12, 16, 24, 32, 64];
/** The half-resolution brain, and the full one, which is planned only. */
const [HALF, FULL, QUICK]: Size[] = [
  [80, 96, 112],
  [160, 192, 224],
  [40, 48, 56],
];
/** What is run: each adjoint at these steps. */
const MEASURED: Record<Adjoint, number[]> = {
  implicit: [4, 16, 64],
  jfb: [4, 16, 64],
  phantom: [4],
  checkpointed: [12, 24],
  unrolled: [4, 12, 24],
};

const planned = (
  adjoint: Adjoint,
  steps: number,
  size: Size,
  similarity: 'detached' | 'exact' = 'detached',
  dtype: 'f32' | 'f16' = 'f32',
) =>
  plan(
    traceTrainingStep({ cell: 'deqreg', channels: CHANNELS, similarity, dtype, grid: unitGrid(size), adjoint: adjointOf(adjoint, steps) })
      .graph,
  ).peak.total;

/** One step in a process of its own. */
function measure(adjoint: Adjoint, steps: number, size: Size): Pick<Row, 'measuredBytes' | 'maxRssBytes' | 'seconds' | 'outcome'> {
  const args = ['--size', size.join(','), '--channels', String(CHANNELS), '--adjoint', adjoint, '--steps', String(steps), '--json'];
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/deqreg.js', 'train-step', ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`deqreg train-step ${args.join(' ')}: ${stderr}`);
  const { measuredPeakBytes, maxRssBytes, seconds, forward, backward } = JSON.parse(stdout);
  const evaluations = [forward, backward].filter(Boolean).map(({ iterations }) => iterations);
  return { measuredBytes: measuredPeakBytes, maxRssBytes, seconds, outcome: evaluations.join(' + ') };
}

const mib = (bytes: number | undefined): string => (bytes === undefined ? '' : (bytes / 2 ** 20).toFixed(1));

/** Coefficient of determination of the straight line through the points. */
function linearity(points: readonly (readonly [number, number])[]): { slope: number; r2: number } {
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
  const [mx, my] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const [xx, xy, yy] = [
    mean(points.map(([x]) => (x - mx) ** 2)),
    mean(points.map(([x, y]) => (x - mx) * (y - my))),
    mean(points.map(([, y]) => (y - my) ** 2)),
  ];
  return { slope: xy / xx, r2: xy ** 2 / (xx * yy) };
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { quick: { type: 'boolean' }, json: { type: 'string' } } });
  const size = values.quick ? QUICK : HALF;
  const gpu = await openGpu();
  const { info } = gpu;
  gpu.close();
  const rows: Row[] = [];
  for (const adjoint of adjoints) {
    for (const steps of STEPS) {
      const run = MEASURED[adjoint].includes(steps) ? measure(adjoint, steps, size) : {};
      rows.push({ adjoint, steps, size, channels: CHANNELS, plannedBytes: planned(adjoint, steps, size), ...run });
      if (run.measuredBytes) console.error(`${adjoint} ${steps}: ${mib(run.measuredBytes)} MiB, ${run.seconds!.toFixed(0)} s`);
    }
  }
  if (values.json) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);

  const of = (adjoint: Adjoint, steps: number) => rows.find((row) => row.adjoint === adjoint && row.steps === steps)!;
  const base = of('jfb', 4);
  const measured = rows.filter((row) => row.measuredBytes !== undefined);
  const { slope, r2 } = linearity(STEPS.filter((steps) => steps >= 2).map((steps) => [steps, of('unrolled', steps).plannedBytes] as const));
  const ratio = (adjoint: Adjoint, steps: number) => (of('unrolled', steps).plannedBytes / of(adjoint, steps).plannedBytes).toFixed(2);
  const variants = (['implicit', 'jfb', 'unrolled'] as const).flatMap((adjoint) =>
    (['detached', 'exact'] as const).flatMap((similarity) =>
      (['f32', 'f16'] as const).map((dtype) => [
        adjoint,
        similarity,
        dtype,
        ...[size, FULL].map((at) => mib(planned(adjoint, 12, at, similarity, dtype))),
      ]),
    ),
  );
  writeReport('memory', 'Memory of a training step', info, `node build.mjs bench memory${values.quick ? ' --quick' : ''}`, [
    `One training step of the \`deqreg\` cell, ${CHANNELS} channels, ${size.join(' × ')} voxels, Anderson with a window of 5; T bounds forward and adjoint solve, or is the ` +
      'number of unrolled steps. MiB of GPU memory, all buffers, as planned without a device:',
    table(['T', ...adjoints], [...STEPS.map((steps) => [steps, ...adjoints.map((adjoint) => mib(of(adjoint, steps).plannedBytes))])]),
    `Unrolled grows by ${mib(slope)} MiB a step (R² ${r2.toFixed(5)}). Unrolled / implicit: ${ratio('implicit', 12)} at T = 12, ${ratio('implicit', 24)} at T = 24; ` +
      `unrolled / jfb: ${ratio('jfb', 12)} and ${ratio('jfb', 24)}.`,
    '## Measured',
    'Each row is a process of its own that runs `deqreg train-step`. "growth": what its resident memory has more than that of jfb with T = 4, ' +
      'over what is planned more. Evaluations: of the forward and of the adjoint solve. Seconds depend on what else the machine did.',
    table(
      ['adjoint', 'T', 'planned', 'measured', 'resident', 'growth', 'evaluations', 'seconds'],
      measured.map((row) => [
        row.adjoint,
        row.steps,
        mib(row.plannedBytes),
        mib(row.measuredBytes),
        mib(row.maxRssBytes),
        row.plannedBytes === base.plannedBytes
          ? ''
          : ((row.maxRssBytes! - base.maxRssBytes!) / (row.plannedBytes - base.plannedBytes)).toFixed(2),
        row.outcome!,
        row.seconds!.toFixed(0),
      ]),
    ),
    '## Other choices',
    `Planned at T = 12: what the similarity's exact Jacobian and storage in f16 change, here and at ${FULL.join(' × ')} voxels.`,
    table(['adjoint', 'similarity', 'activations', size.join(' × '), FULL.join(' × ')], variants),
  ]);
}
