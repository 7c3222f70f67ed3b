// Memory of one training step against the solver's steps and the voxels, for every adjoint of the same cell: planned without a device; measured
// by the engine's ledger, and as resident memory, where it may be run; and against the same step in PyTorch. On a software adapter GPU memory
// is resident memory.
//   node build.mjs bench memory [--quick] [--json FILE] [--memory 8GiB] [--python FILE | --no-peer]
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { memory } from '../src/cli/args.ts';
import { adjoints } from '../src/deq/problem.ts';
import { openGpu } from '../src/node.ts';
import { type Series, chart } from './chart.ts';
import { againstTorch } from './probes/memory-peer.ts';
import { type AdjointName, BEYOND, type Budget, bytesAt, CHANNELS, type Row, rowOf, SIZES, STEPS, voxels } from './probes/memory-rows.ts';
import { FULL, HALF, QUARTER, type Size } from './probes/sizes.ts';
import { csv, reportName, table, writeReport } from './report.ts';

const GIB = 2 ** 30;
const LIMIT = 8 * GIB;
/**
 * Evaluations of the cell times voxels that a measured step may take: on a CPU 56 at half resolution, or a few minutes; in the quick run 39
 * at a quarter.
 */
const WORK = { quick: 39 * voxels(QUARTER), software: 56 * voxels(HALF), hardware: 1e9 };
/** Ratios at T = 12 and half resolution that are aimed at; twice these at T = 24. */
const AIMS = { implicit: 5.5, jfb: 7 };

const mib = (bytes: number | undefined): string => (bytes === undefined ? '' : (bytes / 2 ** 20).toFixed(1));
const gib = (bytes: number): string => (bytes / GIB).toFixed(2);
const told = (size: Size): string => size.join(' × ');

/**
 * GPU memory that a measured step may take: as given; half of what is free where it is the computer's own; what the driver says is free; or
 * 8 GiB.
 */
function memoryLimit(software: boolean, given?: string): { bytes: number; by: string } {
  if (given) return { bytes: memory(given), by: '--memory' };
  if (software) return { bytes: process.availableMemory() / 2, by: "half of the computer's free memory" };
  const { stdout } = spawnSync('nvidia-smi', ['--query-gpu=memory.free', '--format=csv,noheader,nounits'], { encoding: 'utf8' });
  const free = parseInt(stdout ?? '', 10) * 2 ** 20;
  return free > 0 ? { bytes: 0.9 * free, by: '90 % of what nvidia-smi says is free' } : { bytes: LIMIT, by: 'the default' };
}

/** Slope and coefficient of determination of the straight line through the points. */
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

/** Planned lines and measured points of all adjoints, and a line at 8 GiB. */
function memoryChart(title: string, label: string, log: 2 | 10, rows: readonly Row[], x: (row: Row) => number): string {
  const series = adjoints.flatMap((adjoint, colour): Series[] => {
    const of = rows.filter((row) => row.adjoint === adjoint);
    const measured = of.filter(({ measuredBytes }) => measuredBytes !== undefined);
    return [
      { label: adjoint, colour, as: 'line', points: of.map((row) => [x(row), row.plannedBytes / GIB]) },
      { label: adjoint, colour, as: 'points', points: measured.map((row) => [x(row), row.measuredBytes! / GIB]) },
    ];
  });
  const figures = [1.1 * LIMIT, ...rows.map(({ plannedBytes }) => plannedBytes)].map((bytes) => Math.log(bytes / GIB) / Math.log(log));
  return chart({
    title: `${title}: planned (lines) and measured (points)`,
    x: { label, log },
    y: { label: 'GiB of GPU memory', log, min: log ** Math.floor(Math.min(...figures)), max: log ** Math.ceil(Math.max(...figures)) },
    series,
    marks: [{ label: '8 GiB', y: LIMIT / GIB }],
    height: 480,
  });
}

/** What does not depend on T, what grows with it, and the ratios between them. */
function findings(rows: readonly Row[], sizes: readonly Size[], at: Size): string {
  const of = (adjoint: AdjointName, size: Size) => rows.filter((row) => row.adjoint === adjoint && row.size === size);
  const flat = (['implicit', 'jfb', 'phantom'] as const).map((adjoint) => {
    const figures = sizes.map(
      (size) => new Set(of(adjoint, size).flatMap((row) => [row.plannedBytes, row.measuredBytes ?? row.plannedBytes])),
    );
    const runs = rows.filter((row) => row.adjoint === adjoint && row.measuredBytes !== undefined);
    const one = figures.every((set) => set.size === 1);
    return `${adjoint} ${one ? 'is the same to the byte' : '**differs**'} (${runs.length} measured)`;
  });
  const off = rows.filter((row) => row.measuredBytes !== undefined && row.measuredBytes !== row.plannedBytes);
  const { slope, r2 } = linearity(of('unrolled', at).map((row) => [row.steps, row.plannedBytes] as const));
  const least = Math.min(...sizes.map((size) => linearity(of('unrolled', size).map((row) => [row.steps, row.plannedBytes] as const)).r2));
  const bytes = (adjoint: AdjointName, steps: number) => bytesAt(adjoint, HALF, {}, steps);
  const ratios = (['implicit', 'jfb'] as const).flatMap((adjoint) =>
    [12, 24].map((steps) => {
      const [ratio, aim] = [bytes('unrolled', steps) / bytes(adjoint, steps), (AIMS[adjoint] * steps) / 12];
      return `${adjoint} ${ratio.toFixed(2)} at T = ${steps} (aim ${aim}: ${ratio >= aim ? 'met' : '**missed**'})`;
    }),
  );
  return [
    `- From T = 1 to 64, at ${sizes.length} sizes and a window of m = 5: ${flat.join(', ')}. Anderson's history is allocated whole, whatever T.`,
    `- Unrolled grows by ${mib(slope)} MiB a step at ${told(at)} (R² ${r2.toFixed(6)}; at all sizes at least ${least.toFixed(6)}).`,
    `- Unrolled needs, at ${told(HALF)} and by plan, so many times what the others need: ${ratios.join('; ')}.`,
    `- ${off.length ? `**${off.length} measured peaks differ from the plan**` : 'Every measured peak is the planned one, to the byte'}.`,
  ].join('\n');
}

/** What fits 8 GiB at full resolution and beyond, and what would have to change. */
function eightGiB(): string[] {
  const changes: [string, (adjoint: AdjointName, size: Size) => number][] = [
    ['as it is', (adjoint, size) => bytesAt(adjoint, size)],
    ['m = 3', (adjoint, size) => bytesAt(adjoint, size, { history: 3 })],
    ['8 channels', (adjoint, size) => bytesAt(adjoint, size, { channels: 8 })],
    ['32 channels', (adjoint, size) => bytesAt(adjoint, size, { channels: 32 })],
    ['activations in f16', (adjoint, size) => bytesAt(adjoint, size, { dtype: 'f16' })],
    ['f16 and 8 channels', (adjoint, size) => bytesAt(adjoint, size, { dtype: 'f16', channels: 8 })],
    ['exact similarity', (adjoint, size) => bytesAt(adjoint, size, { similarity: 'exact' })],
    ['half the resolution', (adjoint, size) => bytesAt(adjoint, [size[0] / 2, size[1] / 2, size[2] / 2])],
  ];
  const sizes = [FULL, BEYOND];
  const figures = sizes.map((size) => changes.map(([change, of]) => ({ change, bytes: adjoints.map((adjoint) => of(adjoint, size)) })));
  const verdict = (size: Size, adjoint: AdjointName): string => {
    const column = figures[sizes.indexOf(size)].map(({ change, bytes }) => ({ change, bytes: bytes[adjoints.indexOf(adjoint)] }));
    const [now, ...others] = column;
    if (now.bytes <= LIMIT) return `${adjoint} needs ${gib(now.bytes)} GiB and fits`;
    const ways = others.filter(({ bytes }) => bytes <= LIMIT).map(({ change, bytes }) => `${change} (${gib(bytes)})`);
    return `${adjoint} needs ${gib(now.bytes)} GiB and does not; it would with ${ways.join(', ') || 'none of these changes'}`;
  };
  return [
    '## What fits 8 GiB',
    ...sizes.map(
      (size) =>
        `${told(size)}, ${CHANNELS} channels, T = 12, all planned: ${adjoints.map((adjoint) => verdict(size, adjoint)).join('; ')}.`,
    ),
    'GiB; ✓ fits:',
    table(
      ['voxels', 'change', ...adjoints],
      sizes.flatMap((size, i) =>
        figures[i].map(({ change, bytes }) => [told(size), change, ...bytes.map((b) => `${gib(b)}${b <= LIMIT ? ' ✓' : ''}`)]),
      ),
    ),
    `The largest volume in the proportions 5 : 6 : 7 that trains in 8 GiB: ${adjoints.map((adjoint) => `${adjoint} ${told(largest(adjoint))}`).join(', ')}. ` +
      '`deqreg plan --train --size W,H,D --memory 8GiB` answers this for any size and memory, as `deqreg train` plans it: pyramid, augmentation and labels included.',
  ];
}

/** By bisection, in steps of two voxels along each fifth of the first axis. */
function largest(adjoint: AdjointName): Size {
  const size = (k: number): Size => [10 * k, 12 * k, 14 * k];
  let [low, high] = [1, 64];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (bytesAt(adjoint, size(middle)) <= LIMIT) low = middle;
    else high = middle;
  }
  return size(low);
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean' },
      json: { type: 'string' },
      memory: { type: 'string' },
      python: { type: 'string' },
      'no-peer': { type: 'boolean' },
    },
  });
  const gpu = await openGpu();
  const { info, limits } = gpu;
  const limit = memoryLimit(info.software, values.memory);
  const budget: Budget = { bytes: limit.bytes, limits, work: WORK[values.quick ? 'quick' : info.software ? 'software' : 'hardware'] };
  const rows = SIZES.flatMap((size) => adjoints.flatMap((adjoint) => STEPS.map((steps) => rowOf(adjoint, steps, size, budget))));
  const columns = ({ adjoint, steps, size, channels, measuredBytes, plannedBytes, maxRssBytes, seconds, evaluations, state }: Row) => ({
    adjoint,
    steps,
    size,
    channels,
    measuredBytes: measuredBytes ?? null,
    plannedBytes,
    maxRssBytes: maxRssBytes ?? null,
    seconds: seconds ?? null,
    evaluations: evaluations ?? null,
    state,
  });
  if (values.json) writeFileSync(values.json, `${JSON.stringify(rows.map(columns), null, 2)}\n`);

  const at = values.quick ? QUARTER : HALF;
  const measured = rows.filter((row) => row.measuredBytes !== undefined);
  const here = (size: Size, steps: number, adjoint: AdjointName) =>
    rows.find((row) => row.size === size && row.steps === steps && row.adjoint === adjoint)!;
  const marked = (row: Row) => `${mib(row.plannedBytes)}${row.measuredBytes === undefined ? '' : ' •'}`;
  const image = (suffix: string, alt: string) => `![${alt}](${reportName('memory', info)}${suffix}.svg)`;
  const given = ['quick', 'memory', 'python', 'no-peer'].flatMap((name) => {
    const value = values[name as keyof typeof values];
    return value === undefined ? [] : [` --${name}${typeof value === 'string' ? ` ${value}` : ''}`];
  });
  const peer = values['no-peer']
    ? ['## PyTorch', 'Left out: --no-peer.']
    : await againstTorch(gpu, values.python, rows, values.quick, limit.bytes);
  gpu.close();
  const least = measured.reduce((a, b) => (b.plannedBytes < a.plannedBytes ? b : a));
  const growth = ({ plannedBytes, maxRssBytes }: Row) =>
    plannedBytes < 2 * least.plannedBytes ? '' : ((maxRssBytes! - least.maxRssBytes!) / (plannedBytes - least.plannedBytes)).toFixed(2);
  writeReport(
    'memory',
    'Memory of a training step',
    info,
    `node build.mjs bench memory${given.join('')}`,
    [
      `One training step of the \`deqreg\` cell, ${CHANNELS} channels, a pair of images, Anderson with a window of m = 5; T bounds forward and adjoint solve, or is the ` +
        'number of unrolled steps. The window of LNCC is 5, and the force of the similarity `detached` (what `exact` takes is below); phantom takes 5 steps. All buffers of the engine count: weights, Adam, images, history, activations, workspace, staging. The planner needs no device; • marks ' +
        `what was also measured, in a process of its own. A step was run where its plan is within ${gib(limit.bytes)} GiB (${limit.by}), no buffer is larger than the adapter ` +
        `binds (${mib(limits.maxStorageBufferBindingSize)} MiB), and the cell's evaluations times voxels are at most ${budget.work.toExponential(1)}.`,
      image('', `memory against the solver's steps at ${told(at)}`),
      findings(rows, SIZES, at),
      `## Solver steps, at ${told(at)}`,
      'MiB:',
      table(
        ['T', ...adjoints],
        STEPS.map((steps) => [steps, ...adjoints.map((adjoint) => marked(here(at, steps, adjoint)))]),
      ),
      '## Voxels',
      image('-voxels', 'memory against voxels at T = 12'),
      'MiB at T = 12:',
      table(
        ['voxels', ...adjoints, 'unrolled / implicit', 'unrolled / jfb'],
        SIZES.map((size) => {
          const bytes = (adjoint: AdjointName) => here(size, 12, adjoint).plannedBytes;
          const ratio = (adjoint: AdjointName) => (bytes('unrolled') / bytes(adjoint)).toFixed(2);
          return [told(size), ...adjoints.map((adjoint) => marked(here(size, 12, adjoint))), ratio('implicit'), ratio('jfb')];
        }),
      ),
      ...eightGiB(),
      '## Measured',
      `Each row is a process of its own that runs \`deqreg train-step\`. Resident: the largest of the whole process, libraries and ${
        info.software
          ? 'driver included; growth: what that is more than in the row of the smallest plan, over what is planned more'
          : "driver included, which is not the GPU's memory"
      }. Evaluations: of the forward and of the adjoint solve. Seconds: of the process's only step, once the driver has kept its shaders; they depend on what else the machine did.`,
      table(
        ['voxels', 'adjoint', 'T', 'planned', 'measured', 'resident', ...(info.software ? ['growth'] : []), 'evaluations', 'seconds'],
        measured.map((row) => [
          told(row.size),
          row.adjoint,
          row.steps,
          mib(row.plannedBytes),
          mib(row.measuredBytes),
          mib(row.maxRssBytes),
          ...(info.software ? [growth(row)] : []),
          row.evaluations!,
          row.seconds!.toFixed(row.seconds! < 10 ? 2 : 0),
        ]),
      ),
      ...peer,
    ],
    {
      '.csv': csv(rows.map(columns)),
      '.svg': memoryChart(
        `A training step at ${told(at)}`,
        'T',
        2,
        rows.filter(({ size }) => size === at),
        ({ steps }) => steps,
      ),
      '-voxels.svg': memoryChart(
        'A training step at T = 12',
        'million voxels',
        10,
        rows.filter(({ steps }) => steps === 12),
        ({ size }) => voxels(size) / 1e6,
      ),
    },
  );
}
