// Every kernel family at the sizes that registration and training use: GPU time, rate, and per cent of the peak measured in the same run;
// what a dispatch costs the CPU; and the registration cell's time an iteration against the size.
//   node build.mjs bench kernels [--quick] [--size W,H,D] [--json FILE] [--from FILE] [--peer]
// --from: the report of what --json wrote, of a machine that is not at hand any more.
// --peer: PyTorch's conv3d (bench/peers/torch_conv3d.py) in the same run, on a GPU through cuDNN.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type AdapterInfo, checkLimits, type Gpu, openGpu, processorOf, type Timing } from '../src/node.ts';
import { pythonWithTorch } from './peers/process.ts';
import { costOfSizes, type SizeCost, slope } from './probes/cell-cost.ts';
import { families } from './probes/families.ts';
import { dispatchCost, measurePeak, type Peak, type Probe } from './probes/peak.ts';
import { result, type Result } from './probes/roof.ts';
import { type Description, describe, type Row } from './probes/rows.ts';
import { FULL, HALF, QUARTER, type Size } from './probes/sizes.ts';
import { measure } from './probes/timing.ts';
import { type Run, table, thisRun, writeReport } from './report.ts';

/** Seconds of repetitions a row. */
const SECONDS = { quick: 0.3, full: 1 };
/** Rows of `--quick`, beside the convolution of 16 to 16 channels. */
const MAIN = ['warp', 'warpWithGradient', 'lncc', 'lnccForce', 'gaussian', 'compose', 'softNormalize', 'anderson', 'adam', 'dot'];

const halved = (size: Size) => size.map((n) => Math.ceil(n / 2)) as unknown as Size;

/** The convolutions of the `deqreg` cell of 16 channels at a size, and other forms of its middle one. */
function convolutionRows(size: Size): Row[] {
  const coarse = halved(size);
  return [
    ...families.conv3d(size, [8, 16]),
    ...families.conv3d(size, [16, 16]),
    ...families['conv3d-stride2'](size, [16, 32]),
    ...families.conv3d(coarse, [32, 32]),
    ...families['conv3d-joined'](size, [48, 16]),
    ...families.conv3d(size, [16, 3]),
    ...families.conv3d(size, [16, 16], 'f16'),
    ...families['conv3d-replicate'](size, [16, 16]),
    ...families['conv3d-1'](size, [16, 16]),
    ...families['conv3d-5'](coarse, [16, 16]),
  ];
}

/** All rows of a run: convolutions at half size, the rest at a quarter, half and full; or all at one size. */
export function rowsOf(quick: boolean, size?: Size, { software }: Pick<AdapterInfo, 'software'> = { software: true }): Row[] {
  if (quick) {
    // A GPU holds half a volume in its caches, and is fast enough for the whole one too.
    const sizes = size ? [size] : software ? [HALF] : [HALF, FULL];
    return [families.conv3d(sizes[0], [16, 16]), ...sizes.flatMap((at) => MAIN.map((name) => families[name](at)))].flat();
  }
  const others = Object.entries(families).filter(([name]) => !name.startsWith('conv3d'));
  const sizes = size ? [size] : [QUARTER, HALF, FULL];
  return [convolutionRows(size ?? HALF), ...others.flatMap(([, family]) => sizes.map((at) => family(at)))].flat();
}

interface Measured {
  row: Row;
  work: Description;
  times: Timing[];
}

const name = ({ kernel, pass, channels, size, dtype }: Row) => `${kernel} ${pass}, ${channels.join(' → ')}, ${size.join(' × ')}, ${dtype}`;

/** Times all rows that the adapter can hold; tells of those that it cannot. */
async function measureRows(gpu: Gpu, rows: Row[], seconds: number): Promise<{ measured: Measured[]; skipped: string[] }> {
  const measured: Measured[] = [],
    skipped: string[] = [];
  for (const row of rows) {
    const work = describe(row, processorOf(gpu.info));
    const why = obstacle(gpu, work);
    if (why) {
      skipped.push(`${name(row)}: ${why}`);
      continue;
    }
    const times = await measure(gpu, row, seconds);
    measured.push({ row, work, times });
    console.error(`${name(row)}: ${times.reduce((sum, t) => sum + t.ms, 0).toFixed(3)} ms`);
  }
  return { measured, skipped };
}

/** Why a row cannot run on the adapter. */
function obstacle(gpu: Gpu, { plan }: Description): string | undefined {
  const half = plan.phases.some((phase) => phase.dispatches.some(({ constants }) => constants?.real === 'f16'));
  if (half && !gpu.device.features.has('shader-f16')) return 'the adapter has no shader-f16';
  try {
    checkLimits(plan, gpu.limits, gpu.info.description);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const probes = (kind: string, found: Probe[], unit: string): string[][] =>
  found.map(({ shape, value }) => [`${kind}, ${shape}`, `${value.toFixed(1)} ${unit}`]);

const rowTable = (results: Result[]): string =>
  table(
    ['kernel', 'pass', 'channels', 'size', 'type', 'slowest dispatch', 'dispatches', 'ms', 'GFLOP/s', 'GB/s', '% of peak'],
    results.map((r) => [
      r.kernel,
      r.pass,
      r.channels.join(' → '),
      r.size.join(' × '),
      r.dtype,
      r.variant,
      r.dispatches,
      r.ms.toFixed(3),
      r.gflops?.toFixed(1) ?? '',
      r.gbps.toFixed(1),
      `${r.percentOfPeak.toFixed(0)} (${r.bound})`,
    ]),
  );

/** How many rows reach half of the peak, and which one is furthest from it. */
function finding(results: Result[]): string {
  const sorted = results.slice().sort((a, b) => a.percentOfPeak - b.percentOfPeak);
  const [least, middle] = [sorted[0], sorted[Math.floor(sorted.length / 2)]];
  const half = results.filter((r) => r.percentOfPeak >= 50).length;
  return (
    `**${half} of ${results.length} rows reach half of this adapter's peak or more; the median is ${middle.percentOfPeak.toFixed(0)} %.** ` +
    `Furthest from it: ${least.kernel} (${least.pass}, ${least.size.join(' × ')}, ${least.dtype}) at ${least.percentOfPeak.toFixed(0)} %.`
  );
}

/** PyTorch's conv3d of the shape that our first rows have, on the same device: a section of the report. */
function torchConv3d({ software }: AdapterInfo, results: Result[]): string[] {
  const ours = results.filter((r) => r.kernel === 'conv3d' && r.dtype === 'f32' && String(r.channels) === '16,16');
  const { size, channels } = ours[0];
  const device = software ? 'cpu' : 'cuda';
  const script = 'bench/peers/torch_conv3d.py';
  const { status, stdout, stderr } = spawnSync(
    pythonWithTorch() ?? 'python3',
    [script, '--size', String(size), '--channels', String(channels), '--device', device],
    { encoding: 'utf8' },
  );
  if (status !== 0) return ['## PyTorch', `\`${script}\` did not run: ${(stderr ?? '').trim().split('\n').at(-1)}`];
  const rows: { pass: string; tf32: boolean; ms: number }[] = JSON.parse(stdout);
  return [
    '## PyTorch',
    `conv3d of ${channels.join(' → ')} channels at ${size.join(' × ')}, ${software ? 'on the same CPU' : 'through cuDNN on the same card, its fastest algorithm'}; ` +
      'TF32 multiplies with 10 bits of the mantissa, on tensor cores. Ratio: ours to theirs.',
    table(
      ['pass', 'PyTorch', 'its ms', 'our ms', 'ratio'],
      rows.map(({ pass, tf32, ms }) => {
        const our = ours.find((r) => r.pass === pass && String(r.size) === String(size))!.ms;
        return [pass, tf32 ? 'TF32' : 'f32', ms.toFixed(3), our.toFixed(3), (our / ms).toFixed(2)];
      }),
    ),
  ];
}

/** What `--json` writes and `--from` reads. */
interface Found {
  run: Run;
  /** Arguments of the command that measured, and how long repetitions went on. */
  args: string;
  seconds: number;
  adapter: AdapterInfo;
  peak: Pick<Peak, 'gflops' | 'gbps'> & Partial<Peak>;
  rows: Result[];
  skipped?: string[];
  /** These two are missing where a machine was given back before they were measured. */
  dispatch?: { encode: number; done: number };
  costs?: SizeCost[];
  /** The section of `--peer`. */
  peer?: string[];
}

async function measureAll(quick: boolean, size: Size | undefined): Promise<Found> {
  const seconds = SECONDS[quick ? 'quick' : 'full'];
  const args = `${quick ? ' --quick' : ''}${size ? ` --size ${size}` : ''}`;
  const gpu = await openGpu();
  const before = await measurePeak(gpu);
  const { measured, skipped } = await measureRows(gpu, rowsOf(quick, size, gpu.info), seconds);
  const peak = await measurePeak(gpu, before);
  const rows = measured.map(({ row, work, times }) => result(row, work, times, peak));
  const dispatch = await dispatchCost(gpu);
  const costs = await costOfSizes(gpu, quick && gpu.info.software ? HALF.reduce((a, b) => a * b) : Infinity);
  return { run: thisRun(), args, seconds, adapter: gpu.info, peak, rows, skipped, dispatch, costs };
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean' },
      size: { type: 'string' },
      json: { type: 'string' },
      from: { type: 'string' },
      peer: { type: 'boolean' },
    },
  });
  const quick = values.quick ?? false;
  const size = values.size?.split(',').map(Number);
  if (size && (size.length !== 3 || !size.every((n) => Number.isInteger(n) && n > 0)))
    throw new Error(`bench kernels: --size is W,H,D in whole voxels, got ${values.size}`);
  const found: Found = values.from
    ? JSON.parse(readFileSync(values.from, 'utf8'))
    : await measureAll(quick, size as unknown as Size | undefined);
  const { args: given, seconds, adapter, peak, rows: results, skipped = [], dispatch, costs } = found;
  const peer = values.peer ? (found.peer ??= torchConv3d(adapter, results)) : [];
  if (values.json) writeFileSync(values.json, `${JSON.stringify(found, null, 2)}\n`);
  writeReport(
    'kernels',
    'Kernels',
    adapter,
    `node build.mjs bench kernels${given}${values.peer ? ' --peer' : ''}`,
    [
      finding(results),
      'GPU time from unquantised timestamps, each dispatch in a pass of its own: after 0.3 s of warm-up the best of up to 1000 repetitions, several a submit, ' +
        `which go on for ${seconds} s; an op's dispatches are added. FLOP: 2 · Ci · Co · K³ · output voxels. Bytes: what goes in once, what comes out ` +
        'once; for lncc, lnccForce and localStatistics also what passes write and read in between, so that a chain of n other passes reaches 1/n ' +
        'of the peak at most. Per cent of peak: of the multiply-adds (FMA) or of the copy, whichever is larger. Volumes of a quarter fit into ' +
        'caches, which the copy does not.',
      '## Peaks of this adapter, in this run',
      `Measured before and after the kernels, the better counts: ${peak.gflops.toFixed(1)} GFLOP/s, the best number of independent sums an invocation; ` +
        `${peak.gbps.toFixed(1)} GB/s, a copy of one vector of four f32 an invocation. Several in a row are faster where a CPU computes; they are listed, not the reference.`,
      ...(peak.fma && peak.copy
        ? [table(['probe', 'reached'], [...probes('FMA', peak.fma, 'GFLOP/s'), ...probes('copy', peak.copy, 'GB/s')])]
        : []),
      '## Kernels',
      rowTable(results),
      ...(skipped.length ? ['Left out:', skipped.map((line) => `- ${line}`).join('\n')] : []),
      ...peer,
      ...(dispatch
        ? [
            '## A dispatch',
            `In a phase of 1000 that do next to nothing: ${dispatch.encode.toFixed(1)} µs of CPU time to encode and submit, ${dispatch.done.toFixed(1)} µs until done.`,
          ]
        : []),
      ...(costs
        ? [
            '## Cost against size',
            'One iteration of the classical cell under Anderson with a window of 5, default options, the best of 4 rounds of 5.',
            table(
              ['size', 'voxels', 'ms an iteration', 'ns a voxel'],
              costs.map(({ size: at, voxels, ms }) => [at.join(' × '), voxels, ms.toFixed(2), ((1e6 * ms) / voxels).toFixed(1)]),
            ),
            `Slope of log(time) against log(voxels): **${slope(costs).toFixed(3)}**; 1 is a cost in proportion to the size.`,
          ]
        : []),
    ],
    {},
    found.run,
  );
}
