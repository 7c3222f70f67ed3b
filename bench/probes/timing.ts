// Running and timing a row: built, filled and prepared on a device; the best of several repetitions of every dispatch.
import { type Gpu, Schedule, type Tensor, type Timing } from '../../src/index.ts';
import { KEPT, PREPARE, type Row, TIMED, traceRow } from './rows.ts';

/** Repetitions go on for so many seconds, 3 at least and 200 at most. */
const LEAST = 3;
const MOST = 200;
/** Part of the seconds, before them, that nothing is counted in: a GPU that idled raises its clock first. */
const WARM_UP = 0.2;

/** Best time of every dispatch of a phase over repetitions of the whole, after a warm-up; each dispatch in a pass of its own. */
export async function bestTimes(schedule: Schedule, phase: string, seconds: number): Promise<Timing[]> {
  const begun = performance.now();
  do await schedule.profile(phase);
  while (performance.now() - begun < 1e3 * WARM_UP * seconds);
  const started = performance.now();
  let best: Timing[] | undefined;
  for (let i = 0; i < LEAST || (i < MOST && performance.now() - started < 1e3 * seconds); i++) {
    const times = await schedule.profile(phase);
    best = times.map(({ label, ms }, d) => ({ label, ms: Math.min(ms, best?.[d]!.ms ?? Infinity) }));
  }
  return best!;
}

async function withRow<T>(gpu: Gpu, row: Row, use: (schedule: Schedule, outputs: Tensor[]) => Promise<T>): Promise<T> {
  const { graph, inputs, outputs } = traceRow(row);
  const schedule = await Schedule.build(gpu, graph);
  try {
    inputs.forEach((t, i) => schedule.upload(t, row.inputs[i]!.values()));
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
