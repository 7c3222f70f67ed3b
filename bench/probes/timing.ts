// Running and timing a row: built, filled and prepared on a device; the best of several repetitions of every dispatch.
import { MOST_PASSES } from '../../src/gpu/timestamps.ts';
import { type Gpu, Schedule, type Tensor, type Timing } from '../../src/index.ts';
import { KEPT, PREPARE, type Row, TIMED, traceRow } from './rows.ts';

/** Repetitions go on for so many seconds, over 3 submits at least and until there were 1000. */
const LEAST = 3;
const MOST = 1000;
/** So many in one submit that it takes as long: a GPU that waits for the CPU in between lowers its clock. */
const SUBMIT_MS = 20;
/** What is timed runs for so long before it counts: a GPU that has been idle may not have raised its clock yet. */
const WARM_MS = 300;

/**
 * Best time of every dispatch of a phase over repetitions of the whole, after those that do not count; each dispatch in a pass of its own.
 */
export async function bestTimes(schedule: Schedule, phase: string, seconds: number): Promise<Timing[]> {
  await schedule.profile(phase);
  const first = await schedule.profile(phase);
  const once = first.reduce((sum, { ms }) => sum + ms, 0);
  const repeats = Math.max(1, Math.min(MOST, Math.floor(SUBMIT_MS / once), Math.floor(MOST_PASSES / first.length)));
  const warm = performance.now();
  while (seconds > 0 && performance.now() - warm < WARM_MS) await schedule.profile(phase, repeats);
  const started = performance.now();
  let best: Timing[] | undefined;
  for (let i = 0; i < LEAST || (i * repeats < MOST && performance.now() - started < 1e3 * seconds); i++) {
    const times = await schedule.profile(phase, repeats);
    best = times.map(({ label, ms }, d) => ({ label, ms: Math.min(ms, best?.[d]!.ms ?? Infinity) }));
  }
  return best!;
}

async function withRow<T>(gpu: Gpu, row: Row, use: (schedule: Schedule, outputs: Tensor[]) => Promise<T>): Promise<T> {
  const { graph, inputs, outputs } = traceRow(row);
  const schedule = await Schedule.build(gpu, graph);
  try {
    inputs.forEach((t, i) => schedule.upload(t, row.inputs[i].values()));
    schedule.run(PREPARE);
    return await use(schedule, outputs);
  } finally {
    schedule.destroy();
  }
}

/** GPU time of every dispatch of a row, in the order of `describe(row).dispatches`. */
export const measure = (gpu: Gpu, row: Row, seconds: number): Promise<Timing[]> =>
  withRow(gpu, row, async (schedule) => {
    for (let i = 0; i < (row.warmUps ?? 0); i++) schedule.run(TIMED);
    return bestTimes(schedule, TIMED, seconds);
  });

/** What a row computes. */
export const evaluate = (gpu: Gpu, row: Row): Promise<Float32Array[]> =>
  withRow(gpu, row, async (schedule, outputs) => {
    schedule.run(TIMED);
    schedule.run(KEPT);
    const values: Float32Array[] = [];
    for (const t of outputs) values.push(await schedule.read(t));
    return values;
  });
