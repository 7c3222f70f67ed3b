// Registration of real pairs by the whole command: overlap, landmarks, regularity, time and memory, for every method of deqreg and for
// the peers that the machine has. Figures come from one implementation, out of the displacement that each command leaves behind.
//   node build.mjs bench registration [--quick] [--pairs WORD,WORD] [--methods NAME,NAME] [--repeat 3] [--json FILE]
//     [--install-peers] [--script FILE] [--script-args="…"] [--device cuda] [--keep]
// --keep: the report that is there stays, but for the runs of --pairs by --methods, which are done anew.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Inputs } from '../src/cli/inputs.ts';
import { readInputs } from '../src/cli/read-inputs.ts';
import { openGpu, register } from '../src/node.ts';
import { type Case, dataFolder, realCases } from '../test/data.ts';
import { chart } from './chart.ts';
import { type Figures, figuresOf, type Proof } from './peers/field.ts';
import { installItkWasm } from './peers/itk_wasm.ts';
import { findPeers, kindOf, type Method, ownMethods, type Timed } from './peers/methods.ts';
import { againstPeers, findings, means, pairTable, proofs, type Turn } from './peers/report.ts';
import { flat, keptIn, merged, section } from './peers/rows.ts';
import { csv, reportName, table, writeReport } from './report.ts';

export { deqreg } from './peers/methods.ts';
export { show } from './peers/report.ts';

/** Registrations one after another in one process. */
const IN_ONE_PROCESS = 3;

/** One pair by one method; a peer that fails has an error and no figures. */
export interface Row extends Partial<Figures>, Partial<Timed> {
  pair: string;
  kind: string;
  method: string;
  peer: boolean;
  /** Of the method's own number of iterations. */
  share: number;
  error?: string;
  proof?: Proof;
}

const options = {
  quick: { type: 'boolean' },
  pairs: { type: 'string' },
  methods: { type: 'string' },
  repeat: { type: 'string' },
  json: { type: 'string' },
  'install-peers': { type: 'boolean' },
  script: { type: 'string' },
  'script-args': { type: 'string' },
  device: { type: 'string' },
  keep: { type: 'boolean' },
} as const;

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options });
  const { quick, methods: wanted, pairs = '', device } = values;
  const repeat = Number(values.repeat ?? 3);
  if (!(Number.isInteger(repeat) && repeat >= 0)) throw new Error(`--repeat: a whole number is needed, got ${values.repeat}`);
  const cases = realCases()
    .filter(({ name }) => pairs.split(',').some((word) => name.includes(word)))
    .slice(0, quick ? 1 : undefined);
  if (!cases.length)
    throw new Error(`no pairs${pairs && ` with "${pairs}"`} in ${dataFolder}; set DEQREG_DATA to a folder with brain/, lung/ and cardiac/`);
  if (values['install-peers']) await installItkWasm();
  const { peers, missing } = findPeers({ script: values.script, args: values['script-args']?.split(' ').filter(Boolean), device });
  const named = wanted?.split(/,(?!\d)/); // the levels in a name are no names
  const known = [...ownMethods(), ...peers];
  const methods = known.filter(({ name, slow }) => named?.includes(name) ?? !(quick && slow));
  if (!methods.length && !values.keep) throw new Error(`--methods: none of ${known.map(({ name }) => name).join(', ')}`);
  const gpu = await openGpu();
  const { info } = gpu;
  gpu.close();
  const name = reportName('registration', info);
  const before = values.keep ? keptIn(name) : undefined;

  const scratch = mkdtempSync(join(tmpdir(), 'deqreg-bench-'));
  const runs: Row[] = [];
  const turns: Turn[] = before?.turns ?? [];
  try {
    for (const c of cases) {
      const inputs = await inputsOf(c);
      for (const method of methods.filter((m) => m.fits(c))) runs.push(await runOne(method, c, inputs, scratch));
      if (c !== cases[0] || quick || before) continue;
      for (const method of methods.filter((m) => m.fits(c)))
        for (const share of method.shares) runs.push(await runOne(method, c, inputs, scratch, share));
      turns.push(...(await inTurn(methods, c, inputs, scratch, repeat)));
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }

  const all = before ? merged(before.rows, runs) : runs;
  const rows = all.filter(({ share }) => share === 1);
  const shown = known.filter((method) => rows.some((row) => row.method === method.name));
  const lacks = (method: string) => !rows.some((row) => row.method === method);
  const [first] = before ? realCases().filter((c) => c.name === rows[0].pair) : cases;
  const files: Record<string, string> = {
    '.csv': csv(all.map(flat)),
    '.svg': curveChart(first, shown, all),
  };
  const kinds = [...new Set(rows.map(({ kind }) => kind))];
  if (!quick) for (const kind of kinds) files[`-${kind}.svg`] = kindChart(kind, shown, rows);
  const image = (suffix: string, text: string) => `![${text}](${name}${suffix})`;
  writeReport(
    'registration',
    'Registration of real pairs',
    info,
    `node build.mjs bench registration${given(values)}`,
    [
      ...findings(
        rows,
        turns,
        missing.filter((peer) => lacks(peer.name)),
        peers.filter((peer) => cases.some(peer.fits) && lacks(peer.name)).map((peer) => peer.name),
      ),
      ...(before
        ? [
            `${all.length - runs.length} of the ${all.length} runs are those of ${before.of}.\nThe times in turn and in one process were not taken anew.`,
          ]
        : []),
      image('.svg', `Dice against time, ${first.name}`),
      ...(quick ? [] : kinds.map((kind) => image(`-${kind}.svg`, `Accuracy against time, means of ${kind}`))),
      '## Means by method',
      ...means(rows, info.software),
      '## Every pair',
      ...pairTable(rows),
      ...againstPeers(turns, first, turns[0]?.seconds.length ?? repeat),
      before ? section(before.sections, 'In one process') : await inOneProcess(first),
      '## How the methods were run',
      shown.map(({ name, told }) => `- **${name}**: ${told}`).join('\n'),
      'Every command gets two images and nothing else, and writes at least the warped image; a run is one process. Labels, landmarks and all figures come after it. ' +
        'Where the images start far apart, deqreg aligns them by an affine first, as its default is; elastix always does, the PyTorch twin never.',
      ...(before ? [section(before.sections, 'Are these')] : proofs(rows)),
    ],
    files,
  );
  if (values.json) writeFileSync(values.json, `${JSON.stringify(all.map(flat), null, 2)}\n`);
}

/**
 * What a server pays for a registration: all stages, one after another in a process that stays. After all commands: a process that holds
 * a gigabyte while they run leaves them memory that a virtual machine first has to fetch from its host, which takes seconds.
 */
async function inOneProcess(c: Case): Promise<string> {
  const { fixed, moving } = await inputsOf(c);
  const gpu = await openGpu();
  const rows: (string | number)[][] = [];
  for (let i = 1; i <= IN_ONE_PROCESS; i++) {
    const { seconds } = await register(gpu, fixed, moving);
    const { affine, prepare, solve, finish } = seconds;
    rows.push([i, ...[affine, prepare, solve, finish, affine + prepare + solve + finish].map((s) => s.toFixed(2))]);
  }
  gpu.close();
  return [
    '## In one process',
    `\`register\` of the library, default options, ${c.name}, volumes read before, no metrics, no files: seconds of one registration after another. The first compiles pipelines.`,
    table(['registration', 'affine', 'prepare', 'solve', 'read back', 'together'], rows),
  ].join('\n\n');
}

const inputsOf = ({ fixed, moving, fixedSeg, movingSeg, landmarks, labels }: Case): Promise<Inputs> =>
  readInputs({ fixed, moving, fixedSeg, movingSeg, landmarks }, labels);

/** Registers, and measures what came of it. A peer's failure is its row; one of ours ends the bench. */
async function runOne(method: Method, c: Case, inputs: Inputs, scratch: string, share = 1): Promise<Row> {
  const row = { pair: c.name, kind: kindOf(c), method: method.name, peer: method.peer, share };
  const out = mkdtempSync(join(scratch, 'run-'));
  try {
    const { seconds, peakMiB, gpuMiB, plannedMiB, iterations, residuals, solved, converged } = await method.register(c, inputs, out, share);
    const { u, proof } = await method.field(c, inputs, out);
    const figures = figuresOf(inputs, u);
    console.error(
      `${c.name}, ${method.name}${share === 1 ? '' : ` × ${share}`}: Dice ${figures.dice?.toFixed(4)}, ${seconds.toFixed(1)} s`,
    );
    return { ...row, ...figures, seconds, peakMiB, gpuMiB, plannedMiB, iterations, residuals, solved, converged, proof };
  } catch (error) {
    if (!method.peer) throw error;
    console.error(`${c.name}, ${method.name}: ${(error as Error).message}`);
    return { ...row, error: (error as Error).message.trim().split('\n').slice(-1)[0] };
  } finally {
    rmSync(out, { recursive: true });
  }
}

/**
 * Seconds of the default method and of each peer that is not slow, one after another, again and again, so that the machine's moods meet all
 * alike.
 */
async function inTurn(methods: readonly Method[], c: Case, inputs: Inputs, scratch: string, repeat: number): Promise<Turn[]> {
  const [ours] = methods;
  const turns = methods
    .filter((m) => m.fits(c) && (m === ours || (m.peer && !m.slow)))
    .map(({ name, peer }): Turn => ({ method: name, peer, seconds: [] }));
  if (!ours || ours.peer || turns.length < 2) return [];
  for (let n = 0; n < repeat; n++)
    for (const turn of turns) {
      const out = mkdtempSync(join(scratch, 'turn-'));
      const method = methods.find(({ name }) => name === turn.method)!;
      await method.register(c, inputs, out).then(
        ({ seconds }) => turn.seconds.push(seconds),
        (error) => console.error(`${turn.method}: ${(error as Error).message}`),
      );
      rmSync(out, { recursive: true });
    }
  return turns.filter(({ seconds }) => seconds.length);
}

/** Options as given, without what is of this machine alone. */
function given(values: Record<string, string | boolean | undefined>): string {
  const words = Object.entries(values).map(([key, value]) => {
    if (key === 'json' || key === 'install-peers' || value === undefined) return '';
    if (value === true) return ` --${key}`;
    const text = key === 'script' ? basename(String(value)) : String(value);
    return ` --${key}${text.startsWith('-') ? '=' : ' '}${/\s/.test(text) ? `"${text}"` : text}`;
  });
  return words.join('');
}

const SECONDS = { label: 'seconds of the whole command', log: 10 as const };
const colours = (methods: readonly Method[], name: string): number => methods.findIndex((m) => m.name === name);

/** Dice of one pair against time: a point a method, a curve where its iterations were varied. */
function curveChart({ name: pair }: Case, methods: readonly Method[], rows: readonly Row[]): string {
  const series = methods
    .map(({ name }) => {
      const own = rows
        .filter((row) => row.method === name && row.pair === pair && row.dice !== undefined)
        .sort((a, b) => a.share - b.share);
      const points = own.map(({ seconds, dice }) => [seconds!, dice!] as const);
      return { label: name, points, colour: colours(methods, name), as: points.length > 1 ? ('curve' as const) : ('points' as const) };
    })
    .filter(({ points }) => points.length);
  return chart({ title: `Dice against time, ${pair}`, x: SECONDS, y: { label: 'Dice, mean over the labels' }, series });
}

/** Means of a kind of pairs: Dice against time, or the error of the landmarks where there are some. */
function kindChart(kind: string, methods: readonly Method[], rows: readonly Row[]): string {
  const own = rows.filter((row) => row.kind === kind && row.seconds !== undefined);
  const key = own.some(({ tre }) => tre !== undefined) ? 'tre' : 'dice';
  const average = (of: readonly Row[], what: 'tre' | 'dice' | 'seconds') => of.reduce((sum, row) => sum + row[what]!, 0) / of.length;
  const series = methods
    .map(({ name }) => ({ name, found: own.filter((row) => row.method === name) }))
    .filter(({ found }) => found.length)
    .map(({ name, found }) => ({
      label: name,
      points: [[average(found, 'seconds'), average(found, key)] as const],
      colour: colours(methods, name),
      as: 'points' as const,
    }));
  const what = key === 'tre' ? 'TRE (mm)' : 'Dice, mean over the labels';
  const count = new Set(own.map(({ pair }) => pair)).size;
  return chart({ title: `${kind}, ${count} ${count === 1 ? 'pair' : 'pairs'}`, x: SECONDS, y: { label: what }, series });
}
