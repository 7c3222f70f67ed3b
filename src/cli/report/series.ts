// What a course of numbers is made into before it is drawn; a missing number is null.
import type { Row } from './plot.ts';

/**
 * The mean of each value and those before it, `window` in all, of the same stretch (each begins at an index of `starts`). Missing
 * values stay missing and count for nothing.
 */
export function runningMean(values: Row, starts: readonly number[], window: number): Row {
  const begins = new Set(starts);
  let first = 0;
  return values.map((value, n) => {
    if (begins.has(n)) first = n;
    if (value === null) return null;
    return mean(values.slice(Math.max(first, n + 1 - window), n + 1));
  });
}

/** The mean of what is there, or null. */
export function mean(values: Row): number | null {
  const there = values.filter((value) => value !== null);
  return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : null;
}

/** The ends of an axis on which all is 0, as a chart by itself would make it 0 to 100; undefined for any other. */
export const axisOfZeros = (rows: readonly Row[]): [number, number] | undefined => (rows.flat().some(Boolean) ? undefined : [0, 1]);

/** Over how many steps a running mean of `count` steps goes: smooth enough to read, short enough to show a change. */
export const windowOf = (count: number) => Math.min(Math.max(Math.round(count / 40), 5), 100);

/**
 * Between which two the bulk of the values is, with thrice its width to both sides, and how many are outside: values that would flatten all
 * others in a chart. Undefined where none is.
 */
export function limits(values: Row): { low: number; high: number; outside: number } | undefined {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  const at = (share: number, round: (x: number) => number) => sorted[round(share * (sorted.length - 1))];
  const from = at(0.03, Math.floor),
    to = at(0.97, Math.ceil),
    width = to - from;
  if (!(width > 0)) return undefined;
  const low = from - 3 * width,
    high = to + 3 * width,
    outside = sorted.filter((value) => value < low || value > high).length;
  return outside ? { low, high, outside } : undefined;
}
