// Runs the real command, dist/deqreg.js, as its users do.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';

/** dist/deqreg.js; bundled tests run from below dist/, so look upwards for it. */
export const command = (() => {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    const candidate = join(at, 'dist', 'deqreg.js');
    if (existsSync(candidate)) return candidate;
    if (at === dirname(at)) throw new Error('dist/deqreg.js: not found; run node build.mjs build');
  }
})();

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A folder of its own for a suite, once `make` has made it, and the command run in it. */
export function scratch(name: string) {
  let folder = '';
  const run = (args: string) => deqreg(folder, args.split(' '));
  return {
    make: async () => void (folder = await mkdtemp(join(tmpdir(), `deqreg-${name}-`))),
    remove: () => rm(folder, { recursive: true }),
    /** A path in the folder, or the folder. */
    at: (...parts: string[]) => join(folder, ...parts),
    run,
    succeed: async (args: string) => {
      const ran = await run(args);
      assert.is(ran.code, 0, ran.stderr);
      return ran;
    },
  };
}

interface How {
  /** Another copy of dist/deqreg.js. */
  program?: string;
  env?: Record<string, string>;
  interruptAt?: string;
}

/**
 * Runs `deqreg args…` in a folder; `interruptAt`: sends SIGINT once, when this text appears on stderr. Dawn's own warnings about an
 * adapter are left out of stderr.
 */
export function deqreg(cwd: string, args: readonly string[], { program = command, env, interruptAt }: How = {}): Promise<Ran> {
  const child = spawn(process.execPath, [program, ...args], { cwd, env: { ...process.env, ...env } });
  let stdout = '',
    stderr = '',
    interrupted = false;
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
    if (!interruptAt || interrupted || !stderr.includes(interruptAt)) return;
    interrupted = true;
    child.kill('SIGINT');
  });
  return new Promise((resolve) =>
    child.on('close', (code) => resolve({ code, stdout, stderr: stderr.replace(/^Warning: maxDynamic.*\n/gm, '') })),
  );
}
