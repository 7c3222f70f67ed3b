// Rows of the bench of registration as its CSV has them, and what a report that is there still says where only a part of it is run anew.
import { readFileSync } from 'node:fs';
import { RESULTS } from '../page.ts';
import type { Row } from '../registration.ts';
import { provenance, records } from '../report.ts';
import { measures, type Turn } from './report.ts';

type As = 'text' | 'number' | 'numbers' | 'flag';
const columns = (keys: Partial<Record<string, keyof Row>>, as: As = 'number') =>
  Object.entries(keys).map(([column, key]) => ({ column, key: key!, as }));
const COLUMNS: readonly { column: string; key: keyof Row; as: As }[] = [
  ...(['pair', 'kind', 'method'] as const).map((key) => ({ column: key, key, as: 'text' as const })),
  { column: 'peer', key: 'peer', as: 'flag' },
  { column: 'share', key: 'share', as: 'number' },
  ...measures.map(({ column, key }) => ({ column, key, as: 'number' as const })),
  ...columns({ dice_before: 'diceBefore', tre_before_mm: 'treBefore', tre_before_sd_mm: 'treBeforeSd', tre_sd_mm: 'treSd' }),
  ...columns({ planned_gpu_mib: 'plannedMiB' }),
  ...columns({ iterations: 'iterations', rms_residual_voxel: 'residuals' }, 'numbers'),
  ...columns({ levels_solved: 'solved', levels_converged: 'converged' }),
];

/** A row as CSV and JSON have it. */
export const flat = (row: Row): Record<string, unknown> => ({
  ...Object.fromEntries(COLUMNS.map(({ column, key }) => [column, row[key]])),
  proof_image_mean_percent: row.proof?.image.mean,
  proof_dice_of_peer: row.proof?.theirDice,
  proof_dice: row.proof?.ourDice,
  error: row.error,
});

/** The rows of a CSV of ours; of their proofs, what it has. */
export function rowsIn(csv: string): Row[] {
  const read = {
    text: String,
    number: Number,
    numbers: (cell: string) => cell.split(' ').map(Number),
    flag: (cell: string) => cell === 'true',
  };
  return records(csv).map((cells) => {
    const cell = (column: string) => cells[column] || undefined;
    const values = COLUMNS.flatMap(({ column, key, as }) => {
      const text = cell(column);
      return text === undefined ? [] : [[key, read[as](text)]];
    });
    const error = cell('error');
    const [mean, theirDice, ourDice] = ['proof_image_mean_percent', 'proof_dice_of_peer', 'proof_dice'].map((column) => {
      const text = cell(column);
      return text === undefined ? undefined : Number(text);
    });
    const proof = mean === undefined ? undefined : { image: { mean, max: NaN }, theirDice, ourDice };
    return { ...Object.fromEntries(values), ...(proof && { proof }), ...(error && { error }) } as Row;
  });
}

/** What a report says that only runs of its own can, and of when it is. */
export interface Kept {
  /** Such as `2026-11-28, commit 3002b6f`. */
  of: string;
  rows: Row[];
  turns: Turn[];
  /** Its sections by their titles. */
  sections: Map<string, string>;
}

export function keptIn(report: string): Kept {
  const text = (suffix: string) => readFileSync(`${RESULTS}/${report}${suffix}`, 'utf8');
  const page = text('.md');
  const sections = new Map(
    page
      .split(/^(?=## )/m)
      .slice(1)
      .map((section) => [/^## (.*)$/m.exec(section)![1], section.trim()]),
  );
  const rows = rowsIn(text('.csv'));
  return {
    of: provenance(page, 'runs'),
    rows,
    turns: turnsIn(section(sections, 'Time in turn'), rows),
    sections,
  };
}

/** A section by how its title begins; empty where there is none. */
export const section = (sections: Kept['sections'], start: string): string =>
  [...sections].find(([title]) => title.startsWith(start))?.[1] ?? '';

const turnsIn = (text: string, rows: readonly Row[]): Turn[] =>
  [...text.matchAll(/^\| ([^|]+?) \| ([\d., ]+?) \|/gm)].map(([, method, seconds]) => ({
    method,
    peer: !!rows.find((row) => row.method === method)?.peer,
    seconds: seconds.split(', ').map(Number),
  }));

/** The rows of before, each replaced by that of the same pair, method and share where there is a new one; and those that are only new. */
export function merged(before: readonly Row[], rows: readonly Row[]): Row[] {
  const same = (a: Row) => (b: Row) => a.pair === b.pair && a.method === b.method && a.share === b.share;
  return [...before.map((row) => rows.find(same(row)) ?? row), ...rows.filter((row) => !before.some(same(row)))];
}
