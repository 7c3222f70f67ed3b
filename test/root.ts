// The project's folder: bundled tests run from below dist/, so look upwards for it.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function find(at: string): string {
  if (existsSync(join(at, 'build.mjs')) && existsSync(join(at, 'kernels'))) return at;
  if (at === dirname(at)) throw new Error('the project folder (with build.mjs and kernels/) is not above the tests');
  return find(dirname(at));
}

export const root = find(dirname(fileURLToPath(import.meta.url)));
/** A path inside the project. */
export const at = (...parts: string[]): string => join(root, ...parts);
