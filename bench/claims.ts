// What the rows of `bench stability` say: whether a curve converges, stays, or degrades; as tables and in words. All of it follows from the
// rows.
import { records, table } from './report.ts';

/** Anderson acceleration; the same damping without its history, u ← u + β(f(u) − u); plain steps, u ← f(u). */
export type Solver = 'Anderson' | 'damped' | 'plain';

/** One registration: every level runs exactly `iterations` evaluations, `multiple` times the trained ones. */
export interface Row {
  pair: string;
  /** What kind of model: seeds of one kind share it. */
  model: string;
  /** Of training; none for the classical cell. */
  seed: number | null;
  solver: Solver;
  multiple: number;
  iterations: number;
  /**
   * Of the result, which is the best iterate of Anderson and the last one without it: Dice, mean over the labels; folded voxels inside them
   * in percent; RMS of f(u) − u in voxels of the finest level. Null where steps were not finite.
   */
  dice: number | null;
  folds: number | null;
  residual: number | null;
  /** RMS residual at which a registration with this model ends. */
  tolerance: number;
  /** Of the iterate at the last evaluation, whatever its residual; null where it was not finite. */
  lastDice: number | null;
  lastResidual: number | null;
  /** Dice before the registration. */
  before: number;
}

/** The bars: Dice may move by this much once converged, and must lie above this. A twin that ends this far below its best has degraded. */
export const SPREAD = 0.005;
export const LEAST_DICE = 0.7;
export const CLASSICAL = 'classical';

/** What a curve (one model, seed, solver, pair; rising multiples) says. */
export interface Claim {
  rows: Row[];
  /** A solve was not finite, at this multiple first. */
  diverged?: number;
  /** The multiple from which on the residual is at its tolerance at every later one. */
  converged?: number;
  /** Mean Dice from there on, and its largest difference between any two of them. */
  plateau?: number;
  spread?: number;
  best?: Row;
  /** The best Dice less that of the last multiple. */
  loss?: number;
}

export function claimOf(rows: Row[]): Claim {
  const diverged = rows.find((row) => row.dice === null)?.multiple;
  const finite = rows.filter((row) => row.dice !== null);
  const best = finite.length ? finite.reduce((a, b) => (b.dice! > a.dice! ? b : a)) : undefined;
  const last = rows.at(-1)!;
  const late = rows.slice(rows.findLastIndex((row) => row.residual === null || row.residual > row.tolerance) + 1);
  const dices = late.map((row) => row.dice!);
  return {
    rows,
    ...(diverged !== undefined && { diverged }),
    ...(late.length && {
      converged: late[0].multiple,
      plateau: dices.reduce((a, b) => a + b) / dices.length,
      spread: Math.max(...dices) - Math.min(...dices),
    }),
    ...(best && { best }),
    ...(best && last.dice !== null && { loss: best.dice! - last.dice }),
  };
}

/** Rows by a key, in the order of their first ones. */
export function groups<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const found = new Map<string, T[]>();
  for (const item of items) found.set(key(item), [...(found.get(key(item)) ?? []), item]);
  return [...found.values()];
}

export const curvesOf = (rows: readonly Row[]) => groups(rows, ({ pair, model, seed, solver }) => `${pair}|${model}|${seed}|${solver}`);
export const f4 = (value: number | null | undefined) => (value === null || value === undefined ? '' : value.toFixed(4));
const range = (values: readonly number[], show: (value: number) => string = f4): string => {
  const [low, high] = [show(Math.min(...values)), show(Math.max(...values))];
  return low === high ? low : `${low} … ${high}`;
};
export const times = (multiple: number) => `${multiple}×`;
const several = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;

/**
 * A curve that stays: its residual comes to its tolerance, and from there on Dice moves by no more than the bar, above the least that
 * counts.
 */
function stays({ rows, converged, spread }: Claim): boolean {
  if (converged === undefined) return false;
  return spread! <= SPREAD && rows.every((row) => row.multiple < converged || row.dice! > LEAST_DICE);
}

/** The two claims, counted. */
export function headline(rows: readonly Row[]): string {
  const end = times(Math.max(...rows.map((row) => row.multiple)));
  const claims = curvesOf(rows).map(claimOf);
  const some = (kind: string, solver: Solver) => claims.filter(({ rows: [row] }) => row.model.startsWith(kind) && row.solver === solver);
  const lines: string[] = [];
  const deq = some('DEQ', 'Anderson');
  if (deq.length) {
    const met = deq.filter(stays).length;
    lines.push(
      `**A DEQ solved by Anderson, as it is shipped, stays in ${met} of ${several(deq.length, 'run')}${met === deq.length ? '' : ': the bar is not met'}**: ` +
        `the bar is a residual at its stated tolerance, and from there to ${end} the training evaluations a Dice that moves by no more than ${SPREAD}, above ${LEAST_DICE.toFixed(2)}.`,
    );
  }
  const twins = some('unrolled', 'plain');
  if (twins.length) {
    const worse = twins.filter(degrades).length;
    lines.push(
      `**Unrolled twins by plain steps, as they were trained, degrade in ${worse} of ${several(twins.length, 'run')}**: they end at ${end} more than ${SPREAD} below their best Dice, or diverge.` +
        (worse ? '' : ' On these pairs, then, the twins stay as well: what a DEQ is held to, they do not fail.'),
    );
  }
  const plain = some('DEQ', 'plain');
  if (plain.length)
    lines.push(
      `**A DEQ by plain steps, which it was not trained with, degrades in ${plain.filter(degrades).length} of ${several(plain.length, 'run')}.**`,
    );
  return lines.join('\n\n');
}

const degrades = ({ loss, diverged }: Claim) => diverged !== undefined || loss! > SPREAD;

/** The findings in words, one for each kind of model and solver; all of it follows from the rows. */
export function findings(rows: readonly Row[]): string {
  const kinds = groups(curvesOf(rows).map(claimOf), ({ rows: [row] }) => `${row.model}|${row.solver}`);
  return kinds.map((claims) => `- ${finding(claims)}`).join('\n');
}

function finding(claims: Claim[]): string {
  const { model, solver, tolerance } = claims[0].rows[0];
  const end = times(Math.max(...claims[0].rows.map((row) => row.multiple)));
  const of = (some: Claim[]) =>
    some.length === claims.length
      ? some.length === 1
        ? 'the run'
        : `all ${some.length} runs`
      : `${some.length} of ${several(claims.length, 'run')}`;
  const seeds = new Set(claims.map(({ rows: [row] }) => row.seed)).size;
  const pairs = new Set(claims.map(({ rows: [row] }) => row.pair)).size;
  const name = `**${model}, ${solver}** (${model === CLASSICAL ? '' : `${several(seeds, 'seed')}, `}${several(pairs, 'pair')})`;
  const converged = claims.filter((claim) => claim.converged !== undefined);
  const diverged = claims.filter((claim) => claim.diverged !== undefined);
  const lost = claims.filter((claim) => claim.loss !== undefined);
  const degraded = lost.filter(({ loss }) => loss! > SPREAD);
  const at = (i: number) => claims.flatMap(({ rows }) => rows.at(i)!.dice ?? []);
  const sentences: string[] = [];
  if (diverged.length)
    sentences.push(
      `${of(diverged)} diverged: values that are not finite, first at ${range(
        diverged.map((c) => c.diverged!),
        times,
      )}`,
    );
  if (lost.length)
    sentences.push(
      `Dice ${range(at(0))} at 1×, at best ${range(lost.map(({ best }) => best!.dice!))}, ${range(at(-1))} at ${end}; ` +
        (degraded.length
          ? `${of(degraded)} degraded: Dice ends ${range(degraded.map(({ loss }) => loss!))} below its best`
          : lost.length === 1
            ? `it does not degrade: Dice ends ${f4(lost[0].loss)} below its best`
            : `none degrades: Dice ends at most ${f4(Math.max(...lost.map(({ loss }) => loss!)))} below its best`),
    );
  if (converged.length) {
    const spread = Math.max(...converged.map((claim) => claim.spread!));
    const least = Math.min(
      ...converged.flatMap(({ converged, rows }) => rows.filter((row) => row.multiple >= converged!).map((row) => row.dice!)),
    );
    sentences.push(
      `the residual is at its tolerance of ${tolerance} voxel in ${of(converged)}, from ${range(
        converged.map((c) => c.converged!),
        times,
      )} on; ` + `from there to ${end} Dice moves by at most ${f4(spread)} and is at least ${f4(least)}`,
    );
  } else
    sentences.push(
      `no run has its residual at its tolerance of ${tolerance} voxel; smallest at ${end}: ${f4(Math.min(...claims.map(({ rows }) => rows.at(-1)!.residual ?? Infinity)))}`,
    );
  if (solver === 'Anderson') {
    const lasts = claims.map(({ rows }) => rows.at(-1)!);
    const left = lasts.filter(({ lastDice }) => lastDice !== null);
    const off = left.map(({ dice, lastDice }) => Math.abs(dice! - lastDice!));
    sentences.push(
      left.length
        ? `the iterate at the last evaluation of ${end}, which no registration returns, differs from the result by ${range(off)} in Dice; its residual is ${range(left.map(({ lastResidual }) => lastResidual!))}`
        : `the iterate at the last evaluation of ${end} is not finite`,
    );
  }
  const folds = Math.max(...claims.flatMap(({ rows }) => rows.flatMap((row) => row.folds ?? [])));
  if (Number.isFinite(folds)) sentences.push(`folds: at most ${f4(folds)} %`);
  return `${name}: ${sentences.join('. ').replace(/\. ([a-z])/g, (_, c: string) => `. ${c.toUpperCase()}`)}.`;
}

/** What each solver makes of each kind of model: how many runs end at rest, and the most that one loses on the way. */
export function restTable(rows: readonly Row[]): string {
  const end = Math.max(...rows.map((row) => row.multiple));
  const kinds = groups(curvesOf(rows).map(claimOf), ({ rows: [row] }) => `${row.model}|${row.solver}`);
  return table(
    ['model', 'solver', `evaluations at ${times(end)}`, 'runs at rest', 'largest residual', 'largest loss of Dice'],
    kinds.map((claims) => {
      const lasts = claims.map(({ rows }) => rows.at(-1)!);
      const { model, solver, iterations } = lasts[0];
      const rest = claims.filter(({ converged }) => converged !== undefined).length;
      const diverged = claims.some((claim) => claim.diverged !== undefined);
      return [
        model,
        solver,
        iterations,
        `${rest} of ${claims.length}`,
        diverged ? 'diverged' : Math.max(...lasts.map(({ residual }) => residual!)).toPrecision(2),
        diverged ? 'diverged' : f4(Math.max(...claims.map(({ loss }) => loss!))),
      ];
    }),
  );
}

/** A line for each curve. */
export function claimTable(rows: readonly Row[]): string {
  const end = times(Math.max(...rows.map((row) => row.multiple)));
  return table(
    [
      'pair',
      'model',
      'seed',
      'solver',
      'evaluations at 1×',
      'Dice 1×',
      'best Dice',
      'at',
      `Dice ${end}`,
      'lost',
      'converged from',
      'plateau',
      'moves',
      `residual ${end}`,
      'last iterate: Dice',
      'residual',
      `folds % ${end}`,
    ],
    curvesOf(rows).map((curve) => {
      const { best, loss, converged, plateau, spread, diverged } = claimOf(curve);
      const [first, last] = [curve[0], curve.at(-1)!];
      const { pair, model, seed, solver, multiple, iterations } = first;
      return [
        pair,
        model,
        seed ?? '',
        solver,
        iterations / multiple,
        f4(first.dice),
        f4(best?.dice),
        best ? times(best.multiple) : '',
        diverged === undefined ? f4(last.dice) : `diverged at ${times(diverged)}`,
        f4(loss),
        converged === undefined ? 'not' : times(converged),
        f4(plateau),
        f4(spread),
        last.residual === null ? '' : last.residual.toPrecision(2),
        f4(last.lastDice),
        last.lastResidual === null ? '' : last.lastResidual.toPrecision(2),
        f4(last.folds),
      ];
    }),
  );
}

/** Dice against multiples, a table a pair. */
export function diceTable(rows: readonly Row[]): string {
  const multiples = [...new Set(rows.map((row) => row.multiple))].sort((a, b) => a - b);
  return table(
    ['model', 'seed', 'solver', ...multiples.map(times)],
    curvesOf(rows).map((curve) => [
      curve[0].model,
      curve[0].seed ?? '',
      curve[0].solver,
      ...multiples.map((m) => {
        const row = curve.find((r) => r.multiple === m);
        return row ? (row.dice === null ? 'diverged' : f4(row.dice)) : '';
      }),
    ]),
  );
}

/** The rows of a report's CSV. */
export function parseRows(text: string): Row[] {
  const value = (key: string, cell: string) => (['pair', 'model', 'solver'].includes(key) ? cell : cell === '' ? null : Number(cell));
  return records(text).map(
    (cells) => Object.fromEntries(Object.entries(cells).map(([key, cell]) => [key, value(key, cell)])) as unknown as Row,
  );
}
