// A command as its user runs it: seconds and peak memory of the whole process.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

export interface Finished {
  stdout: string;
  /** From start to end of the process. */
  seconds: number;
  /** Largest resident set, MiB; where /proc tells it (Linux). */
  peakMiB?: number;
}

const EVERY = 20; // ms between two looks at the peak, which the kernel keeps: only growth in the last of these is missed

/** Runs a program to its end. Throws with the last lines of its output when it fails. */
export function command(program: string, args: readonly string[]): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '',
      stderr = '',
      peak: number | undefined;
    const timer = setInterval(() => (peak = peakOf(child.pid) ?? peak), EVERY);
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const fail = (what: string) => {
      clearInterval(timer);
      const told = (stderr.trim() || stdout.trim()).split('\n').slice(-8).join('\n');
      reject(new Error(`${program} ${args.join(' ')}: ${what}${told && `\n${told}`}`));
    };
    child.on('error', ({ message }) => fail(message));
    child.on('close', (code, signal) => {
      if (code !== 0) return fail(signal ?? `exit code ${code}`);
      clearInterval(timer);
      resolve({ stdout, seconds: (performance.now() - started) / 1e3, peakMiB: peak });
    });
  });
}

/** The kernel's own maximum of a process's resident set, MiB; undefined when it has ended, or is not told. */
function peakOf(pid: number | undefined): number | undefined {
  try {
    const kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) / 1024;
  } catch {
    return undefined;
  }
}

/** Whether a command runs and ends well. */
export const runs = (program: string, ...args: string[]): boolean => spawnSync(program, args, { stdio: 'ignore' }).status === 0;

/** What a command writes, as JSON from the first brace on. */
export const jsonOf = ({ stdout }: Finished): any => JSON.parse(stdout.slice(stdout.indexOf('{')));

/** All cores for a script in PyTorch, whose own choice may be fewer. */
export const torchThreads = (): string[] => ['--threads', String(availableParallelism())];

export const torchVersion = (python: string): string =>
  spawnSync(python, ['-c', 'import torch; print(torch.__version__)'], { encoding: 'utf8' }).stdout.trim();

/** A Python that has PyTorch: the one given, or else a distribution's own, or the first on the path. */
export const pythonWithTorch = (given?: string): string | undefined =>
  (given ? [given] : ['/usr/bin/python3', 'python3']).find((program) => runs(program, '-c', 'import numpy, torch'));
