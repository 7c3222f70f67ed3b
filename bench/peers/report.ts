// What the bench of registration says: findings in words, and tables.
import { table } from '../report.ts';
import type { Case } from '../../test/data.ts';
import type { Row } from '../registration.ts';
import type { Proof } from './field.ts';
import type { Missing } from './methods.ts';

/** Seconds of each of a method's runs in turn. */
export interface Turn {
  method: string;
  peer: boolean;
  seconds: number[];
}

type Measure = 'dice' | 'hd95' | 'tre' | 'folds' | 'ndv' | 'sdLogJ' | 'sdLogJLearn2Reg' | 'seconds' | 'peakMiB' | 'gpuMiB';

/** What methods are compared by; `best` where less or more is better. */
export const measures: { key: Measure; title: string; column: string; unit: string; digits: number; best?: 'least' | 'most' }[] = [
  { key: 'dice', title: 'Dice', column: 'dice', unit: '', digits: 4, best: 'most' },
  { key: 'hd95', title: 'HD95 mm', column: 'hd95_mm', unit: ' mm', digits: 2, best: 'least' },
  { key: 'tre', title: 'TRE mm', column: 'tre_mm', unit: ' mm', digits: 2, best: 'least' },
  { key: 'folds', title: 'folds %', column: 'folds_percent', unit: ' %', digits: 4, best: 'least' },
  { key: 'ndv', title: 'NDV %', column: 'ndv_percent', unit: ' %', digits: 4, best: 'least' },
  { key: 'sdLogJ', title: 'SDlogJ', column: 'sdlogj', unit: '', digits: 3, best: 'least' },
  { key: 'sdLogJLearn2Reg', title: 'SDlogJ of Learn2Reg', column: 'sdlogj_learn2reg', unit: '', digits: 4, best: 'least' },
  { key: 'seconds', title: 'seconds', column: 'seconds', unit: ' s', digits: 1, best: 'least' },
  { key: 'peakMiB', title: 'peak memory MiB', column: 'peak_rss_mib', unit: ' MiB', digits: 0, best: 'least' },
  { key: 'gpuMiB', title: 'GPU MiB', column: 'gpu_mib', unit: ' MiB', digits: 0 },
];

export const show = (value: number | null | undefined, digits: number): string =>
  value === undefined || value === null || Number.isNaN(value) ? '' : value.toFixed(digits);
export function median(values: readonly number[]): number {
  const sorted = values.slice().sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.floor(sorted.length / 2)]) / 2;
}
const told = (value: number, { digits, unit }: { digits: number; unit: string }) => `${value.toFixed(digits)}${unit}`;

interface Mean {
  method: string;
  peer: boolean;
  runs: number;
  values: Partial<Record<Measure, number>>;
  /** How many levels of how many, over all pairs; empty where none has a tolerance. */
  converged: string;
}

/** Means over the pairs of a kind, of the methods that did all of them. */
export function meansOf(rows: readonly Row[], kind: string): Mean[] {
  const own = rows.filter((row) => row.kind === kind);
  return [...new Set(own.map(({ method }) => method))].map((method) => {
    const done = own.filter((row) => row.method === method && row.error === undefined);
    const values: Mean['values'] = {};
    for (const { key } of measures) {
      const found = done.map((row) => row[key]).filter((value) => typeof value === 'number');
      if (found.length && found.length === done.length) values[key] = found.reduce((a, b) => a + b) / found.length;
    }
    const total = (key: 'converged' | 'solved') => done.reduce((sum, row) => sum + (row[key] ?? 0), 0);
    const converged = total('solved') ? `${total('converged')} of ${total('solved')}` : '';
    return { method, peer: own.find((row) => row.method === method)!.peer, runs: done.length, values, converged };
  });
}

const kindsOf = (rows: readonly Row[]) => [...new Set(rows.map(({ kind }) => kind))];
const pairsOf = (rows: readonly Row[], kind: string) => [...new Set(rows.filter((row) => row.kind === kind).map(({ pair }) => pair))];
const counted = (n: number) => `${n} ${n === 1 ? 'pair' : 'pairs'}`;

/** Who is best at what, the default method against each peer, and which peers the machine lacks or this run left out. */
export function findings(rows: readonly Row[], turns: readonly Turn[], missing: readonly Missing[], left: readonly string[]): string[] {
  const lines = kindsOf(rows).flatMap((kind) => {
    const all = meansOf(rows, kind).filter(({ runs }) => runs === pairsOf(rows, kind).length);
    const best = measures.flatMap((measure) => {
      const sign = measure.best === 'most' ? -1 : 1;
      const ranked = all
        .filter(({ values }) => measure.best && values[measure.key] !== undefined)
        .sort((a, b) => sign * (a.values[measure.key]! - b.values[measure.key]!));
      const [first] = ranked;
      if (!first || ranked.length < 2) return [];
      const value = (mean: Mean) => told(mean.values[measure.key]!, measure);
      const equal = ranked.filter((other) => value(other) === value(first));
      const peer = ranked.find((mean) => mean.peer);
      const behind = peer && !equal.includes(peer) ? ` (best peer: ${peer.method}, ${value(peer)})` : '';
      return [`${measure.title.replace(/ (mm|%|MiB)$/, '')} ${value(first)} by ${equal.map(({ method }) => method).join(', ')}${behind}`];
    });
    const ours = meansOf(rows, kind).find(({ peer }) => !peer);
    return [
      `- **${kind}, ${counted(pairsOf(rows, kind).length)}, best means:** ${best.join('; ')}.`,
      ...(ours?.converged ? [`- **${kind}, levels of ${ours.method} that converged:** ${ours.converged}.`] : []),
    ];
  });
  const [ours, ...others] = turns;
  const inTurn =
    ours && !ours.peer
      ? others.map(({ method, seconds }) => {
          const ratio = median(ours.seconds) / median(seconds);
          return `${ratio.toFixed(2)} of ${method}'s`;
        })
      : [];
  return [
    [
      ...lines,
      ...comparisons(rows),
      ...(inTurn.length ? [`- **Time of ${ours.method}, medians of ${ours.seconds.length} runs in turn:** ${inTurn.join(', ')}.`] : []),
      ...(left.length ? [`- **${left.join(', ')}**: on this machine, but left out of this run.`] : []),
      ...missing.map(({ name, install }) => `- **${name}** is not on this machine, and was left out: \`${install}\`.`),
      ...rows
        .filter(({ proof }) => proof && !proven(proof))
        .map(
          ({ pair, method }) =>
            `- **${method} on ${pair}:** the field that was measured is not what the peer warps by; see the last table.`,
        ),
      ...rows.filter(({ error }) => error).map(({ pair, method, error }) => `- **${method} failed on ${pair}:** ${error}`),
    ].join('\n'),
  ];
}

/** The first method of ours against each peer, pair by pair: how often it is ahead. */
function comparisons(rows: readonly Row[]): string[] {
  const ours = rows.find(({ peer }) => !peer)?.method;
  if (!ours) return [];
  return [...new Set(rows.filter(({ peer }) => peer).map(({ method }) => method))].flatMap((peer) => {
    const both = [...new Set(rows.map(({ pair }) => pair))].flatMap((pair) => {
      const find = (method: string) => rows.find((row) => row.pair === pair && row.method === method && row.error === undefined);
      const [a, b] = [find(ours), find(peer)];
      return a && b ? [{ a, b }] : [];
    });
    if (!both.length) return [];
    const ahead = (key: Exclude<Measure, 'peakMiB' | 'gpuMiB'>, more = false) => {
      const measured = both.filter(({ a, b }) => a[key] !== undefined && b[key] !== undefined);
      const won = measured.filter(({ a, b }) => (more ? a[key]! > b[key]! : a[key]! < b[key]!)).length;
      return measured.length ? [`${won} of ${measured.length}`] : [];
    };
    const parts = [
      ...ahead('dice', true).map((text) => `higher Dice on ${text} pairs`),
      ...ahead('hd95').map((text) => `lower HD95 on ${text}`),
      ...ahead('tre').map((text) => `lower TRE on ${text}`),
      ...ahead('folds').map((text) => `fewer folds on ${text}`),
      ...ahead('ndv').map((text) => `less NDV on ${text}`),
      ...ahead('sdLogJ').map((text) => `lower SDlogJ on ${text}`),
      ...ahead('sdLogJLearn2Reg').map((text) => `lower SDlogJ of Learn2Reg on ${text}`),
      ...ahead('seconds').map((text) => `faster on ${text}`),
    ];
    return [`- **${ours} against ${peer}:** ${parts.join(', ')}.`];
  });
}

/** A table of means a kind of pairs. */
export function means(rows: readonly Row[], software: boolean): string[] {
  const tables = kindsOf(rows).map((kind) => {
    const all = meansOf(rows, kind);
    const shown = measures.filter(({ key }) => all.some(({ values }) => values[key] !== undefined));
    const lines = all.map(({ method, peer, runs, values, converged }) => [
      `${method}${peer ? ' (peer)' : ''}`,
      runs,
      ...shown.map(({ key, digits }) => show(values[key], digits)),
      converged,
    ]);
    return table([kind, 'pairs', ...shown.map(({ title }) => title), 'levels converged'], lines);
  });
  const holds = software ? '; under this software adapter it holds deqreg’s GPU memory too' : '';
  return [
    ...tables,
    `One run a pair. Seconds: the whole command. Peak memory: the process’s largest resident set${holds}. GPU MiB: of deqreg what was planned, which is what was measured. Folds, NDV and SDlogJ inside the fixed labels. Levels converged: to their tolerance, of the levels of all pairs; without refinements, and without adam, which has no tolerance.`,
    'Folds: J ≤ 0 by central differences. NDV: non-diffeomorphic volume, of the tetrahedra between voxels that are turned inside out (Liu et al., IJCV 2024).',
    'SDlogJ is the standard deviation of log J, J clipped at 1e-9: a fold counts as −20.7, so that a few of them outweigh all else, and a method without any looks the smoother for it. ' +
      'Learn2Reg’s is that of log(J + 3), J + 3 clipped to 1e-9 … 1e9: folds weigh little, and without them it is about a quarter. In both lower is smoother.',
  ];
}

/** A row a run. */
export function pairTable(rows: readonly Row[]): string[] {
  const odd = rows.filter(({ gpuMiB, plannedMiB }) => plannedMiB !== undefined && plannedMiB !== gpuMiB);
  const spread = (mean: number | undefined, sd: number | undefined) => (mean === undefined ? '' : `${mean.toFixed(2)} ± ${show(sd, 2)}`);
  return [
    table(
      [
        'pair',
        'method',
        'Dice before',
        'TRE before mm',
        ...measures.map(({ title }) => title),
        'evaluations a level',
        'RMS residual a level, voxel',
      ],
      rows.map((row) => [
        row.pair,
        `${row.method}${row.peer ? ' (peer)' : ''}`,
        show(row.diceBefore, 4),
        spread(row.treBefore, row.treBeforeSd),
        ...measures.map(({ key, digits }) => (key === 'tre' ? spread(row.tre, row.treSd) : show(row[key], digits))),
        row.iterations?.join(', ') ?? '',
        row.residuals?.map((residual) => show(residual, 4)).join(', ') ?? '',
      ]),
    ),
    ...(rows.some(({ tre }) => tre !== undefined) ? ['TRE: mean ± standard deviation over the landmarks.'] : []),
    ...odd.map(
      ({ pair, method, gpuMiB, plannedMiB }) => `**${method} on ${pair}: planned ${plannedMiB} MiB, but measured ${gpuMiB} MiB.**`,
    ),
  ];
}

/** Seconds in turn, and their medians. */
export function againstPeers(turns: readonly Turn[], { name }: Case, repeat: number): string[] {
  const [ours] = turns;
  if (!ours || ours.peer) return [];
  const lines = turns.map(({ method, seconds }) => [
    method,
    seconds.map((s) => s.toFixed(1)).join(', '),
    median(seconds).toFixed(1),
    (median(ours.seconds) / median(seconds)).toFixed(2),
  ]);
  return [`## Time in turn (${name}, ${repeat} runs each)`, table(['', 'seconds of each run', 'median', `${ours.method} / this`], lines)];
}

/** Images within a thousandth of their range on average, and Dice within a thousandth. */
const proven = ({ image, theirDice = 0, ourDice = 0 }: Proof) => image.mean < 0.1 && Math.abs(theirDice - ourDice) < 1e-3;

/** That each field is what the peer means by it. */
export function proofs(rows: readonly Row[]): string[] {
  const proved = rows.flatMap(({ pair, method, proof }) => (proof ? [{ pair, method, ...proof }] : []));
  if (!proved.length) return [];
  return [
    '## Are these the peers’ own fields?',
    'The warped image that the peer writes against the moving image sampled through the field that was measured, in % of its range, inside the moving grid; the Dice of labels that the peer warps against ours; and the field that `transformix` writes against the transform as this bench evaluates it, which ITK-Wasm’s rests on.',
    table(
      [
        'pair',
        'peer',
        'image, mean difference %',
        'largest %',
        'Dice by the peer',
        'by this bench',
        'transform evaluated, largest difference mm',
      ],
      proved.map(({ pair, method, image, theirDice, ourDice, evaluatedMm }) => [
        pair,
        method,
        image.mean.toExponential(1),
        image.max.toExponential(1),
        show(theirDice, 6),
        show(ourDice, 6),
        evaluatedMm === undefined ? '' : evaluatedMm.toExponential(1),
      ]),
    ),
  ];
}
