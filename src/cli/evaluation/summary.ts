// An evaluation for people, on the terminal: a run in a few words, and the means by method.
import { type Figure, figures, type Mean, type MethodMeans, type Run } from './figures.ts';

const FIRST: Figure[] = ['dice', 'hd95', 'tre', 'folds', 'sdLogJ', 'seconds'];

export function outcomeOf({ error, figures: own, levels }: Run): string {
  if (!own || !levels) return `failed: ${error}`;
  const arrow = (before: Figure, after: Figure) =>
    own[after] === null ? [] : [`${figures[after].title.split(' ')[0]} ${told(before, own[before])} → ${told(after, own[after])}`];
  const results = [...new Set(levels.map(({ result }) => result))].join(', ');
  return [...arrow('diceBefore', 'dice'), ...arrow('treBefore', 'tre'), results, `${told('seconds', own.seconds)} s`].join(', ');
}

/** Of how many runs a mean is, where some that ended well lack the figure: the HD95 of a run that has lost a structure, for instance. */
export const fewer = ({ n }: Mean, ended: number): string => (n < ended ? ` (${n} of ${ended})` : '');

/** Lines of a table: a method a row, mean ± standard deviation. */
export function meansTable(all: readonly MethodMeans[]): string[] {
  const shown = FIRST.filter((name) => all.some(({ means }) => means[name]));
  const rows = all.map(({ method, runs, failed, means }) => [
    method,
    failed ? `${runs - failed} of ${runs}` : String(runs),
    ...shown.map((name) => {
      const found = means[name];
      return found
        ? `${told(name, found.mean)}${found.sd === null ? '' : ` ± ${told(name, found.sd)}`}${fewer(found, runs - failed)}`
        : '–';
    }),
  ]);
  const lines = [['method', 'pairs', ...shown.map((name) => figures[name].title)], ...rows];
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map(
    (line) => `  ${line.map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[column]))).join('  ')}`,
  );
}

const told = (name: Figure, value: number | null) => (value === null ? '–' : value.toFixed(figures[name].digits));
