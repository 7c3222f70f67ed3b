// evaluation.jsonl: the runs of an evaluation, a line each, so that one that was interrupted, or that is asked for more, goes on where it
// was.
import { appendFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../args.ts';
import type { Report } from '../metrics.ts';
import { keep } from '../outputs.ts';
import type { Run } from './figures.ts';

/** A run with all its metrics. */
export interface Done extends Run {
  metrics?: Report;
}

export interface Journal {
  /** The run that was done before, under the same `key`. */
  find(key: string): Done | undefined;
  add(key: string, done: Done): void;
  /** Notes that the evaluation is written. */
  end(): void;
}

/**
 * The journal in a folder. One with runs in it is gone on with if `resume` says so; else it is begun anew if it is of an evaluation that
 * ended, and refused if not. Failed runs are not kept: they are tried again.
 */
export function openJournal(folder: string, resume: boolean): Journal {
  const path = join(folder, 'evaluation.jsonl');
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : []; // what follows the last newline was cut off
  const before = new Map<string, Done>();
  const ended = lines.at(-1) === END;
  lines.slice(0, ended ? -1 : undefined).forEach((text, n) => {
    const { key, done } = parsed(text, `${path}:${n + 1}`);
    if (done.error === undefined) before.set(key, done);
  });
  if (before.size && !resume && !ended)
    throw new UsageError(
      `${path}: an evaluation that did not end (runs done: ${before.size}); --resume goes on with it, or remove the file`,
    );
  if (!resume) before.clear();
  if (before.size) {
    writeFileSync(`${path}.tmp`, [...before].map(([key, done]) => line(key, done)).join(''));
    renameSync(`${path}.tmp`, path);
    keep(KEPT);
  } else rmSync(path, { force: true });
  return {
    find: (key) => before.get(key),
    add(key, done) {
      appendFileSync(path, line(key, done));
      keep(KEPT);
    },
    end: () => appendFileSync(path, `${END}\n`),
  };
}

const KEPT = '--resume goes on after the runs that are done';
const END = JSON.stringify({ ended: true });
const line = (key: string, done: Done) => `${JSON.stringify({ key, done })}\n`;

function parsed(line: string, place: string): { key: string; done: Done } {
  try {
    const { key, done } = JSON.parse(line);
    if (typeof key === 'string' && done) return { key, done };
  } catch {
    // thrown below
  }
  throw new Error(`${place}: no line of an evaluation; remove the file to begin anew`);
}
