// One op at one shape: proved against the float64 reference, then timed; with other values of the constants that its launch is made of, ranked.
//   node build.mjs bench playground OP [--size W,H,D] [--channels in,out] [--dtype f16] [--pass forward|dx|dw] [--set NAME=a,b,c …] [--seconds S]
// NAME is a number at the top of a file of src/ops, or a field of a table there: WG (invocations of a workgroup), RUN (outputs of a line
// kernel), GAUSSIAN_RUN (along H and D), PLANE_RUN, PLANE_AHEAD and AHEAD (LNCC on a GPU); for convolutions run, runOfFew, stage and inputs
// (of TILES), CHANNELS, FEW, DX_RUN, DX_RUN_OF_FEW, CHUNKS. The engine is built again with each value, so grids, parameters and memory
// follow by the op's own rules; nothing in src is changed. An unknown NAME is told all of them.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build, type Plugin } from 'esbuild';
import { checkLimits, type Gpu, openGpu, type Processor, processorOf, type Timing } from '../src/node.ts';
import { type NdArray, ndarray, relativeError } from '../test/reference/ndarray.ts';
import type { Channels } from './probes/op-row.ts';
import { measurePeak, type Peak } from './probes/peak.ts';
import { result } from './probes/roof.ts';
import type { Row } from './probes/rows.ts';
import type { Size } from './probes/sizes.ts';
import * as engine from './probes/trial.ts';
import { table } from './report.ts';

type Setting = Record<string, number>;

/** Proofs run on this size at most: odd, several runs long, small enough for plain loops. */
const PROOF: Size = [9, 11, 7];
const TOLERANCE = { f32: 1e-5, f16: 2e-3 };
/** Repetitions of a setting in a round go on for so long. */
const SECONDS = 1;
/** Every setting is timed so often, in turn, so that a disturbance does not fall on one alone. */
const ROUNDS = 2;
const FOLDER = 'dist/bench/playground';

/** Where a constant's number stands: `const NAME = 8;`, or `NAME: 8` in a row of a table. */
const places = (name: string) => new RegExp(`^((?:export )?const ${name} = |  \\w+: \\{.*?\\b${name}: )(\\d+)(?=[;,} ])`, 'gm');
const sources = () => readdirSync('src/ops').map((file) => `src/ops/${file}`);

/** Names that `--set` takes, with their files. */
const settable = (): string =>
  sources()
    .flatMap((file) => {
      const text = readFileSync(file, 'utf8');
      const constants = [...text.matchAll(/^(?:export )?const ([A-Z_]+) = \d+;/gm)].map(([, name]) => name);
      const rows = [...text.matchAll(/^  \w+: \{ (?:\w+: \d+(?:, )?)+ \},$/gm)].flatMap(([row]) =>
        [...row.matchAll(/(\w+): \d/g)].map(([, name]) => name),
      );
      return [...new Set([...constants, ...rows])].map((name) => `${name} (${file})`);
    })
    .join(', ');

/** The rows and the engine below them, built with other constants. */
async function rebuilt(setting: Setting): Promise<typeof engine> {
  const override: Plugin = {
    name: 'override',
    setup({ onLoad }) {
      onLoad({ filter: /src[\\/]ops[\\/]\w[\w-]*\.ts$/ }, ({ path }) => {
        const replace = (text: string, [name, value]: [string, number]) => text.replace(places(name), `$1${value}`);
        return { contents: Object.entries(setting).reduce(replace, readFileSync(path, 'utf8')), loader: 'ts' };
      });
    },
  };
  mkdirSync(FOLDER, { recursive: true });
  const outfile = resolve(FOLDER, `${show(setting).replace(/\W+/g, '-')}.mjs`);
  await build({
    entryPoints: ['bench/probes/trial.ts'],
    outfile,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    platform: 'node',
    loader: { '.wgsl': 'text' },
    plugins: [override],
  });
  return import(pathToFileURL(outfile).href);
}

const show = (setting: Setting): string =>
  Object.entries(setting)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ') || 'as it is';

/** All combinations of the values given, the constants as they are first. */
function settings(given: readonly string[]): Setting[] {
  const axes = given.map((text) => {
    const [, name, list] = /^(\w+)=(\d+(?:,\d+)*)$/.exec(text) ?? [];
    if (!name) throw new Error(`playground: --set takes NAME=a,b,c with whole numbers, got ${text}`);
    if (!sources().some((file) => places(name).test(readFileSync(file, 'utf8'))))
      throw new Error(`playground: no constant ${name}; there are ${settable()}`);
    return list.split(',').map((value): Setting => ({ [name]: Number(value) }));
  });
  const all = axes.reduce<Setting[]>((made, axis) => made.flatMap((a) => axis.map((b) => ({ ...a, ...b }))), [{}]);
  return axes.length ? [{}, ...all] : all;
}

function numbers(name: string, text: string, count: number): number[] {
  const values = text.split(',').map(Number);
  if (values.length !== count || !values.every((n) => Number.isInteger(n) && n > 0))
    throw new Error(`playground: --${name} takes ${count} whole numbers above 0, got ${text}`);
  return values;
}

interface Trial {
  setting: Setting;
  row: Row;
  engine: typeof engine;
  error: number;
  times?: Timing[];
  refused?: string;
}

/** A row under a setting, checked; what the engine or the adapter refuses is told, not thrown. */
async function prove(
  gpu: Gpu,
  setting: Setting,
  rowOf: (built: typeof engine, size: Size) => Row,
  expected: NdArray[],
  proof: Size,
  size: Size,
): Promise<Trial> {
  const built = Object.keys(setting).length ? await rebuilt(setting) : engine;
  const row = rowOf(built, size);
  try {
    checkLimits(built.describe(row, processorOf(gpu.info)).plan, gpu.limits, gpu.info.description);
    const found = await built.evaluate(gpu, rowOf(built, proof));
    return { setting, row, engine: built, error: Math.max(...expected.map(({ data }, i) => relativeError(found[i], data))) };
  } catch (error) {
    return { setting, row, engine: built, error: NaN, refused: (error as Error).message };
  }
}

/** What would be sent to the device, to tell whether a constant changes anything. */
const launches = (built: typeof engine, row: Row, processor: Processor): string =>
  JSON.stringify(built.describe(row, processor).dispatches.map(({ constants, groups, params }) => [constants, groups, params]));

async function playPass(
  gpu: Gpu,
  peak: Peak,
  all: Setting[],
  rowOf: (built: typeof engine, size: Size) => Row,
  size: Size,
  seconds: number,
): Promise<void> {
  const proof = size.map((n, axis) => Math.min(n, PROOF[axis])) as unknown as Size;
  const small = rowOf(engine, proof);
  if (!small.reference) throw new Error(`playground: ${small.kernel} has no float64 reference to be proved against`);
  const expected = small.reference(small.inputs.map(({ shape, values }) => ndarray([...shape], values())));
  const trials: Trial[] = [];
  for (const setting of all) trials.push(await prove(gpu, setting, rowOf, expected, proof, size));
  const plain = launches(engine, trials[0].row, processorOf(gpu.info));
  for (let round = 0; round < ROUNDS; round++) {
    for (const trial of trials.filter((t) => !t.refused)) {
      const times = await trial.engine.measure(gpu, trial.row, seconds);
      trial.times = times.map((t, i) => ({ ...t, ms: Math.min(t.ms, trial.times?.[i]!.ms ?? Infinity) }));
    }
  }
  const { kernel, pass, channels, dtype } = small;
  const rows = trials.map(({ setting, row, engine: built, times, error, refused }) => {
    if (!times) return { ms: Infinity, cells: [show(setting), '', '', '', '', '', refused!] };
    const r = result(row, built.describe(row, processorOf(gpu.info)), times, peak);
    const verdict = error < TOLERANCE[dtype] ? '' : 'WRONG';
    const same = Object.keys(setting).length && launches(built, row, processorOf(gpu.info)) === plain ? 'changes nothing here' : '';
    const rate = r.gflops ? `${r.gflops.toFixed(1)} GFLOP/s` : `${r.gbps.toFixed(1)} GB/s`;
    return {
      ms: r.ms,
      cells: [
        show(setting),
        r.variant,
        r.ms.toFixed(3),
        rate,
        `${r.percentOfPeak.toFixed(1)} (${r.bound})`,
        error.toExponential(1),
        verdict || same,
      ],
    };
  });
  console.log(`\n${kernel} ${pass}, ${channels.join(' → ')} channels, ${size.join(' × ')}, ${dtype}; checked at ${proof.join(' × ')}\n`);
  console.log(
    table(
      ['constants', 'slowest dispatch', 'ms', 'rate', '% of peak', 'relative error', ''],
      rows.sort((a, b) => a.ms - b.ms).map(({ cells }) => cells),
    ),
  );
}

export async function main(args: string[]): Promise<void> {
  const string = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { size: string, channels: string, dtype: string, pass: string, set: { type: 'string', multiple: true }, seconds: string },
  });
  const [name = ''] = positionals;
  if (!engine.families[name]) throw new Error(`playground: choose one of ${Object.keys(engine.families).join(', ')}`);
  const size = numbers('size', values.size ?? '40,48,56', 3) as unknown as Size;
  const channels = values.channels ? (numbers('channels', values.channels, 2) as unknown as Channels) : undefined;
  const seconds = Number(values.seconds ?? SECONDS);
  if (!(seconds > 0)) throw new Error(`playground: --seconds is a number above 0, got ${values.seconds}`);
  const { dtype = 'f32' } = values;
  if (dtype !== 'f32' && dtype !== 'f16') throw new Error(`playground: --dtype is f32 or f16, got ${dtype}`);
  const rowsOf = (built: typeof engine, at: Size) => built.families[name](at, channels, dtype);
  const passes = rowsOf(engine, PROOF).map(({ pass }) => pass);
  if (rowsOf(engine, PROOF).some((row) => row.dtype !== dtype)) throw new Error(`playground: ${name} is offered in f32 only`);
  const fixed = rowsOf(engine, PROOF).find((row) => channels && String(row.channels) !== String(channels));
  if (fixed) throw new Error(`playground: ${name} has ${fixed.channels.join(',')} channels, got ${channels!.join(',')}`);
  const wanted = values.pass ? passes.filter((pass) => pass === values.pass) : passes;
  if (!wanted.length) throw new Error(`playground: ${name} has ${passes.join(', ')}, not ${values.pass}`);
  const all = settings(values.set ?? []);
  const gpu = await openGpu();
  const peak = await measurePeak(gpu);
  console.log(`${gpu.info.description}: ${peak.gflops.toFixed(1)} GFLOP/s, ${peak.gbps.toFixed(1)} GB/s`);
  for (const pass of wanted)
    await playPass(gpu, peak, all, (built, at) => rowsOf(built, at).find((row) => row.pass === pass)!, size, seconds);
}
