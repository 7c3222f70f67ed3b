// What every bench writes: a Markdown page in bench/results with its date, adapter, machine and commit, and the command behind it.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import Papa from 'papaparse';
import { adapterName } from '../src/gpu/device.ts';
import { encodeTable } from '../src/io/table.ts';
import type { AdapterInfo } from '../src/node.ts';
import { RESULTS, writePage } from './page.ts';

/** A Markdown table; the first column is text, the others are aligned to the right. */
export function table(columns: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map((_, i) => (i ? '--:' : '---'))), ...rows.map(line)].join('\n');
}

/** The commit, and whether the code differs from it; DEQREG_COMMIT says it where the code came without its history. */
function commitOf(): string {
  if (process.env.DEQREG_COMMIT) return process.env.DEQREG_COMMIT;
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim();
  return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '--', 'src', 'kernels') ? ' with uncommitted changes' : ''}`;
}

/** When, from which code and on how many cores a bench runs. */
export interface Run {
  date: string;
  commit: string;
  cores: number;
}
export const thisRun = (): Run => ({ date: new Date().toISOString().slice(0, 10), commit: commitOf(), cores: cpus().length });

/**
 * When a report that is there was run and from which commit; and what its line about `things` (`curves`, `runs`) that it kept itself says,
 * which begins `12 of the 20 things are those of `.
 */
export function provenance(page: string, things: string): string {
  const [, date, commit] = /^(\S+) · commit (.+?) · /m.exec(page)!;
  const kept = new RegExp(`^\\d+ of the \\d+ ${things} are those of .*?(?=\\.$)`, 'm').exec(page)?.[0];
  return `${date}, commit ${commit}${kept ? `, in which ${kept}` : ''}`;
}

/** What the files of a report are called: by the bench, and on a GPU by its name too (`kernels-nvidia-h100`). */
export function reportName(bench: string, { software, device, description }: AdapterInfo): string {
  if (software) return bench;
  const words = (device || description).toLowerCase().split(/[^a-z0-9]+/);
  return [bench, ...words.slice(0, 2)].join('-');
}

/** Comma-separated values of rows with the same keys; what is missing stays empty. */
export function csv(rows: readonly Record<string, unknown>[]): string {
  const keys = [...new Set(rows.flatMap(Object.keys))];
  const cell = (value: unknown) => (Array.isArray(value) ? value.join(' ') : value);
  return encodeTable([keys, ...rows.map((row) => keys.map((key) => cell(row[key])))]);
}

/** The rows of a CSV, by column. Throws where a row has other columns than the first line names. */
export function records(text: string): Record<string, string>[] {
  const { data, errors } = Papa.parse<Record<string, string>>(text.trim(), { header: true, delimiter: ',' });
  if (errors.length) throw new Error(`row ${errors[0].row}: ${errors[0].message}`);
  return data;
}

/**
 * Writes bench/results/<name>.md, prints it, writes `files` (`.csv`, `.svg`, `-time.svg`: what follows the name) beside it, and the page of
 * all again.
 */
export function writeReport(
  bench: string,
  title: string,
  adapter: AdapterInfo,
  command: string,
  sections: readonly string[],
  files: Record<string, string | Uint8Array> = {},
  { date, commit, cores } = thisRun(),
): void {
  const name = reportName(bench, adapter);
  const head = [`# ${title}`, '', `${date} · commit ${commit} · ${adapterName(adapter)} · ${cores} cores`, '', `\`${command}\``, ''].join(
    '\n',
  );
  const text = `${head}\n${sections.join('\n\n')}\n`;
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(`${RESULTS}/${name}.md`, text);
  for (const [suffix, content] of Object.entries(files)) writeFileSync(`${RESULTS}/${name}${suffix}`, content);
  console.log(text);
  writePage();
}
