// Registration of real pairs by the whole command: overlap, landmarks, regularity, time and memory, for every method; and, with
// --peer SCRIPT, against a PyTorch script that takes FIXED MOVING --fixed-seg S --moving-seg S and prints one JSON line, in turn.
//   node build.mjs bench registration [--quick] [--peer SCRIPT] [--peer-args "…"] [--repeat 3]
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openGpu } from '../src/node.ts';
import { classicalMethods } from '../src/register/options.ts';
import { type Case, dataFolder, realCases } from '../test/data.ts';
import { table, writeReport } from './report.ts';

interface Run {
  json: any;
  seconds: number;
}

function run(program: string, args: string[]): Run {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
  const seconds = (performance.now() - started) / 1e3;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}\n${stderr}`);
  return { json: JSON.parse(stdout.slice(stdout.indexOf('{'))), seconds };
}

/** The whole command, by every method; the trained updates on what they were trained for. */
const REFINE = '10';
const methodsFor = ({ name }: Case): string[][] => [
  ...classicalMethods.map((method) => [method]),
  ...(/^(brain|lung)/.test(name) ? [['deq'], ['deq', '--refine', REFINE]] : []),
];

export const deqreg = (c: Case, method: readonly string[], out: string): Run =>
  run(process.execPath, [
    'dist/deqreg.js',
    'register',
    '--fixed',
    c.fixed,
    '--moving',
    c.moving,
    '--fixed-seg',
    c.fixedSeg,
    '--moving-seg',
    c.movingSeg,
    ...(c.labels ? ['--labels', c.labels.join(',')] : []),
    ...(c.landmarks ? ['--landmarks', c.landmarks] : []),
    '--method',
    ...method,
    '--out',
    out,
    '--json',
  ]);

const median = (values: number[]): number => values.slice().sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
export const show = (value: number | undefined, digits: number): string => (value === undefined ? '' : value.toFixed(digits));

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { quick: { type: 'boolean' }, peer: { type: 'string' }, 'peer-args': { type: 'string' }, repeat: { type: 'string' } },
  });
  const cases = realCases().slice(0, values.quick ? 1 : undefined);
  if (!cases.length) throw new Error(`no volumes in ${dataFolder}; set DEQREG_DATA to a folder with brain/, lung/ and cardiac/`);
  const gpu = await openGpu();
  const { info } = gpu;
  gpu.close();
  const out = mkdtempSync(join(tmpdir(), 'deqreg-bench-'));
  try {
    const rows = cases.flatMap((c) =>
      methodsFor(c).map((method) => {
        const { json, seconds } = deqreg(c, method, out);
        const { dice, hd95, tre, solver, memory } = json;
        return [
          c.name,
          method.join(' '),
          show(dice.before, 4),
          show(dice.mean, 4),
          show(hd95.mean, 2),
          show(tre?.before.mean ?? tre?.before, 2),
          show(tre?.after.mean ?? tre?.after, 2),
          show(json.foldingPercent, 4),
          show(json.sdLogJ, 3),
          solver.levels.map((l: any) => l.iterations).join(', '),
          solver.levels.map((l: any) => l.residual.toFixed(4)).join(', '),
          show(seconds, 1),
          show(memory.measured.total / 2 ** 20, 0),
        ];
      }),
    );
    const sections = [
      '## All pairs, default options',
      table(
        [
          'pair',
          'method',
          'Dice before',
          'Dice',
          'HD95 mm',
          'TRE before mm',
          'TRE mm',
          'folds %',
          'SDlogJ',
          'evaluations a level',
          'RMS residual a level, voxel',
          'seconds',
          'GPU MiB',
        ],
        rows,
      ),
      'One run each; seconds are those of the whole command, files and metrics included. Folds and SDlogJ inside the fixed labels.',
    ];
    if (values.peer)
      sections.push(
        ...againstPeer(cases[0]!, values.peer, values['peer-args']?.split(' ').filter(Boolean) ?? [], Number(values.repeat ?? 3), out),
      );
    const given = ['quick', 'repeat']
      .filter((k) => values[k as 'quick'])
      .map((k) => ` --${k}${k === 'quick' ? '' : ` ${values[k as 'repeat']}`}`)
      .join('');
    writeReport(
      'registration',
      'Registration of real pairs',
      info,
      `node build.mjs bench registration${given}${values.peer ? ' --peer twin.py' : ''}`,
      sections,
    );
  } finally {
    rmSync(out, { recursive: true });
  }
}

function againstPeer(c: Case, script: string, extra: string[], repeat: number, out: string): string[] {
  const ours: Run[] = [],
    theirs: Run[] = [];
  for (let i = 0; i < repeat; i++) {
    ours.push(deqreg(c, ['equilibrium'], out));
    theirs.push(run('/usr/bin/python3', [script, c.fixed, c.moving, '--fixed-seg', c.fixedSeg, '--moving-seg', c.movingSeg, ...extra]));
  }
  const seconds = (runs: Run[]) => runs.map((r) => r.seconds);
  const ratio = median(seconds(ours)) / median(seconds(theirs));
  const [a, b] = [ours[0]!.json, theirs[0]!.json];
  return [
    `## Against LNCC + diffusion with Adam in PyTorch (${c.name}, ${repeat} runs in turn)`,
    table(
      ['', 'Dice', 'folds %', 'SDlogJ', 'seconds of each run', 'median'],
      [
        [
          'deqreg, default',
          show(a.dice.mean, 4),
          show(a.foldingPercent, 4),
          show(a.sdLogJ, 3),
          seconds(ours)
            .map((s) => s.toFixed(1))
            .join(', '),
          show(median(seconds(ours)), 1),
        ],
        [
          `PyTorch ${extra.join(' ')}`,
          show(b.dice, 4),
          show(b.foldingPercent, 4),
          show(b.sdLogJ, 3),
          seconds(theirs)
            .map((s) => s.toFixed(1))
            .join(', '),
          show(median(seconds(theirs)), 1),
        ],
      ],
    ),
    `Ratio of medians: **${ratio.toFixed(2)}**. Whole commands: reading, registration, metrics; deqreg also HD95 and four files.`,
  ];
}
