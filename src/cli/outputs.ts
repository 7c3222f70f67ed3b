// Files out: all files of a command appear together when it has ended well, and nothing of them when it has not.
import { existsSync, readFileSync, realpathSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { frameIn } from '../io/data-path.ts';
import { writeAtomic, writeNifti } from '../io/files.ts';
import { UsageError } from './args.ts';

/** Starts to write a file of the folder; the bytes of a NIfTI are gzipped when its name ends in .gz. */
export type Write = (name: string, bytes: Uint8Array | string) => Promise<void>;

const unfinished = new Set<() => void>();

let kept = 'nothing was written';

/** Says what stays of a command that does not end. */
export function keep(words: string): void {
  kept = words;
}

/** Takes away everything that is not finished, for a process that is about to end. What stays, in words; empty where that is not known. */
export function discardOutputs(): string {
  const words = unfinished.size ? kept : '';
  for (const discard of unfinished) discard();
  return words;
}

/**
 * Makes a folder and runs the work that fills it. Files go to a hidden folder inside and are renamed when the work and all writes have
 * ended; when one fails, they are removed, and so is every folder that was made here. Of `all`, the files that such a work may write, those
 * that this one did not are removed from the folder, so that everything in it is of one run.
 */
export async function withOutputs<T>(folder: string, work: (write: Write) => Promise<T>, all: readonly string[] = []): Promise<T> {
  const made = await makeFolder(folder);
  const staging = await mkdtemp(join(folder, '.deqreg-')).catch((error: Error) => cannotWrite(folder, error));
  const writes = new Map<string, Promise<void>>();
  const write: Write = (name, bytes) => {
    const path = join(staging, name);
    const writing = (typeof bytes === 'string' ? writeAtomic(path, bytes) : writeNifti(path, bytes)).catch((error: Error) => {
      throw new Error(error.message.replace(path, join(folder, name)));
    });
    writing.catch(() => {}); // thrown below
    writes.set(name, writing);
    return writing;
  };
  const discard = () => {
    rmSync(staging, { recursive: true, force: true });
    if (made) removeEmpty(resolve(folder), resolve(made));
  };
  unfinished.add(discard);
  try {
    const result = await work(write);
    await Promise.all(writes.values());
    // from here on without a pause in which a signal could come
    replaceAll(folder, staging, [...writes.keys()], all);
    rmSync(staging, { recursive: true });
    keep('');
    return result;
  } catch (error) {
    await Promise.allSettled(writes.values());
    discard();
    throw error;
  } finally {
    unfinished.delete(discard);
  }
}

/**
 * Puts the staged files in the place of what is there under those and all other names; where one cannot be put, everything is as it was.
 */
function replaceAll(folder: string, staging: string, names: readonly string[], all: readonly string[]): void {
  const undo: (() => void)[] = [];
  const move = (from: string, to: string) => {
    renameSync(from, to);
    undo.unshift(() => renameSync(to, from));
  };
  for (const name of new Set([...names, ...all])) {
    const path = join(folder, name);
    try {
      if (existsSync(path) && !statSync(path).isDirectory()) move(path, join(staging, `${name}.before`));
      if (names.includes(name)) move(join(staging, name), path);
    } catch (error) {
      for (const back of undo) back();
      cannotWrite(path, error as Error);
    }
  }
}

/** A file of JSON that a command leaves beside its others, and what it holds: by it they are known. */
export interface Mark {
  file: string;
  holds: readonly string[];
}

/**
 * Throws where a command that writes files of the names `all` into a folder would take away what it may not: one of its inputs, or a file
 * that the command has not left there before, by its mark beside it.
 */
export function checkFolder(folder: string, all: readonly string[], inputs: Record<string, string | undefined>, mark: Mark): void {
  const there = all.filter((name) => existsSync(join(folder, name)));
  for (const name of there) checkOutput(join(folder, name), inputs);
  if (there.length && !isMarked(folder, mark))
    throw new Error(
      `${folder}: has ${there.join(', ')}, but no ${mark.file} of deqreg: not results of an earlier run, and this one would replace them; choose another --out`,
    );
}

/** Throws where a run would replace one of its inputs by a file that it writes. */
export function checkOutput(path: string, inputs: Record<string, string | undefined>): void {
  const real = (path: string) => (existsSync(path) ? realpathSync(path) : resolve(path));
  for (const [what, input] of Object.entries(inputs))
    if (input !== undefined && real(frameIn(input).file) === real(path))
      throw new UsageError(`${path}: is the ${what} of this run, which would replace it; choose another --out`);
}

function isMarked(folder: string, { file, holds }: Mark): boolean {
  try {
    const content = JSON.parse(readFileSync(join(folder, file), 'utf8'));
    return holds.every((key) => content[key] !== undefined);
  } catch {
    return false;
  }
}

/** Makes a folder and those above it that are missing; the first one made. Throws, naming it, where that cannot be. */
export async function makeFolder(folder: string): Promise<string | undefined> {
  return makeMissing(folder).catch((error) => cannotWrite(folder, error));
}

/** As makeFolder. Node's own recursive mkdir never ends where none can be made, as in /proc. */
async function makeMissing(folder: string): Promise<string | undefined> {
  const missing: string[] = [];
  for (let at = resolve(folder); !existsSync(at); at = dirname(at)) missing.unshift(at);
  if (!missing.length && !statSync(folder).isDirectory()) await mkdir(folder); // throws EEXIST
  for (const each of missing) await mkdir(each);
  return missing[0];
}

function cannotWrite(path: string, error: NodeJS.ErrnoException): never {
  const known: Record<string, string> = {
    EEXIST: 'a file of that name exists',
    ENOTDIR: 'a part of the path is not a folder',
    EISDIR: 'is a folder',
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'read-only file system',
    ENOSPC: 'no space left on the device',
    ENOENT: 'no folder can be made there',
  };
  throw new Error(`${path}: cannot write: ${known[error.code ?? ''] ?? error.message}`);
}

/** Removes a folder and those above it up to `last`, as long as they are empty. */
function removeEmpty(folder: string, last: string): void {
  try {
    rmdirSync(folder);
    if (folder !== last) removeEmpty(dirname(folder), last);
  } catch {
    // somebody else has put something there
  }
}
