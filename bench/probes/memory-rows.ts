// Training steps as rows: planned without a device, and measured in a process of its own where the adapter, the memory and the time allow
// it.
import { spawnSync } from 'node:child_process';
import type { Adjoint } from '../../src/deq/problem.ts';
import { checkLimits, type Plan, plan } from '../../src/graph/plan.ts';
import type { Gpu } from '../../src/node.ts';
import { adjointOf, traceTrainingStep, type TrainingStepOptions, unitGrid } from '../../src/train/step.ts';
import { FULL, HALF, QUARTER, type Size } from './sizes.ts';

export type AdjointName = Adjoint['adjoint'];

export interface Row {
  adjoint: AdjointName;
  steps: number;
  size: Size;
  channels: number;
  /** All buffers of the engine, by its ledger. */
  measuredBytes?: number;
  plannedBytes: number;
  /** Largest resident memory of the process. */
  maxRssBytes?: number;
  seconds?: number;
  /** Evaluations of the forward and of the adjoint solve. */
  evaluations?: string;
  loss?: number;
  /** Measured, or why not. */
  state: 'measured' | 'planned' | 'planned: memory' | 'planned: binding' | 'planned: time';
}

export const CHANNELS = 16;
export const STEPS = [1, 2, 4, 8, 12, 16, 24, 32, 64];
/** A quarter, half and full brain resolution, one between, and one beyond. */
const BETWEEN: Size = [112, 136, 160];
export const BEYOND: Size = [224, 272, 320];
export const SIZES = [QUARTER, HALF, BETWEEN, FULL, BEYOND];

/** Lengths that are run, where they may be. The forward solve of phantom is that of implicit. */
const RUN: Record<AdjointName, readonly number[]> = {
  implicit: [1, 12, 24, 64],
  jfb: [1, 12, 24, 64],
  phantom: [12],
  checkpointed: [12, 24, 64],
  unrolled: [1, 12, 24, 64],
};

export const voxels = (size: Size): number => size.reduce((a, b) => a * b);

/** What a step costs, in evaluations of the cell, about. */
const work: Record<AdjointName, (steps: number) => number> = {
  implicit: (steps) => 2 * steps + 4,
  jfb: (steps) => steps + 4,
  phantom: (steps) => steps + 15,
  checkpointed: (steps) => 3 * steps,
  unrolled: (steps) => 2 * steps,
};

/** What may be run: GPU memory, limits of a buffer, and evaluations of the cell times voxels. */
export interface Budget {
  bytes: number;
  limits: Gpu['limits'];
  work: number;
}

export const planOf = (adjoint: AdjointName, steps: number, size: Size, more: Partial<TrainingStepOptions> = {}): Plan =>
  plan(
    traceTrainingStep({
      cell: 'deqreg',
      channels: CHANNELS,
      similarity: 'detached',
      grid: unitGrid(size),
      adjoint: adjointOf(adjoint, steps),
      ...more,
    }).graph,
  );

/** Bytes of a step at T = 12. */
export const bytesAt = (adjoint: AdjointName, size: Size, more: Partial<TrainingStepOptions> = {}, steps = 12): number =>
  planOf(adjoint, steps, size, more).peak.total;

function stateOf(adjoint: AdjointName, steps: number, size: Size, planned: Plan, budget: Budget): Row['state'] {
  if (planned.peak.total > budget.bytes) return 'planned: memory';
  try {
    checkLimits(planned, budget.limits, '');
  } catch {
    return 'planned: binding';
  }
  if (!RUN[adjoint].includes(steps)) return 'planned';
  return work[adjoint](steps) * voxels(size) > budget.work ? 'planned: time' : 'measured';
}

/** What glibc would keep of freed memory goes back at once, as in `bench/peers/torch_deqreg.py`. */
const ENVIRONMENT = { ...process.env, MALLOC_MMAP_THRESHOLD_: '131072' };
const warm = new Set<string>();

/** One step in a process of its own, as `deqreg train-step` runs it; before the first of its kind, one whose shaders the driver keeps. */
function measure(adjoint: AdjointName, steps: number, size: Size): Partial<Row> {
  const args = ['--size', size.join(','), '--channels', String(CHANNELS), '--adjoint', adjoint, '--steps', String(steps), '--json'];
  const step = () => spawnSync(process.execPath, ['dist/deqreg.js', 'train-step', ...args], { encoding: 'utf8', env: ENVIRONMENT });
  const kind = `${adjoint} ${size}`;
  if (!warm.has(kind)) step();
  warm.add(kind);
  const { status, stdout, stderr } = step();
  if (status !== 0) throw new Error(`deqreg train-step ${args.join(' ')}: ${stderr}`);
  const { measuredPeakBytes, maxRssBytes, seconds, loss, forward, backward } = JSON.parse(stdout);
  const evaluations = [forward, backward].filter(Boolean).map(({ iterations }) => iterations);
  return { measuredBytes: measuredPeakBytes, maxRssBytes, seconds, loss, evaluations: evaluations.join(' + ') };
}

export function rowOf(adjoint: AdjointName, steps: number, size: Size, budget: Budget): Row {
  const planned = planOf(adjoint, steps, size);
  const state = stateOf(adjoint, steps, size, planned, budget);
  const run = state === 'measured' ? measure(adjoint, steps, size) : {};
  if (run.seconds)
    console.error(`${size} ${adjoint} ${steps}: ${(run.measuredBytes! / 2 ** 20).toFixed(1)} MiB, ${run.seconds.toFixed(1)} s`);
  return { adjoint, steps, size, channels: CHANNELS, plannedBytes: planned.peak.total, ...run, state };
}
