// deqreg train-step: one training step on a synthetic pair, its memory and time measured.
import type { Outcome } from '../../deq/solver.ts';
import { mebibytes } from '../../gpu/device.ts';
import { Schedule } from '../../graph/schedule.ts';
import { openGpu } from '../gpu.ts';
import { phantom } from '../../register/phantom.ts';
import { beginTraining, runTrainingStep } from '../../train/step.ts';
import { type Options, parse, table, whole } from '../args.ts';
import { training, trainingOptions } from '../training.ts';

export const summary = 'run one training step on a synthetic brain pair and measure its memory and time';
export const usage = 'deqreg train-step --size W,H,D [options]';
export const options = {
  ...trainingOptions,
  seed: { value: 'N', parse: whole, help: 'another pair and other initial weights for another number (default: 1)' },
} satisfies Options;

const RATE = 3e-3;

export async function run(args: string[]): Promise<number> {
  const { seed = 1, ...given } = parse(options, args);
  const { settings, traced } = training(given, 16); // the phantom's least size
  const { fixed, moving } = phantom('brain', settings.size, seed);
  const unit = (data: Float32Array) => data.map((v) => v / 255);
  const gpu = await openGpu();
  try {
    const schedule = await Schedule.build(gpu, traced.graph);
    beginTraining(schedule, traced, seed);
    await gpu.idle();
    const started = performance.now();
    const { loss, levels } = await runTrainingStep(
      schedule,
      traced,
      { fixed: unit(fixed.data), moving: unit(moving.data) },
      { rate: RATE, maxIterations: settings.steps },
    );
    const { forward, backward } = levels[0];
    const done = {
      ...settings,
      seed,
      adapter: gpu.info,
      seconds: (performance.now() - started) / 1e3,
      loss,
      forward,
      backward,
      plannedPeakBytes: schedule.plan.peak.total,
      measuredPeakBytes: gpu.ledger.peak.total,
      byTag: gpu.ledger.peak.byTag,
      maxRssBytes: process.resourceUsage().maxRSS * 1024,
      rssBytes: process.memoryUsage.rss(), // at the end, while all buffers are there
    };
    console.log(
      given.json
        ? JSON.stringify(done, null, 2)
        : table([
            ['adapter', done.adapter.description],
            ['loss', loss.toFixed(4)],
            ['seconds', done.seconds.toFixed(2)],
            ['forward', told(forward, `${settings.steps} plain steps`)],
            ['backward', told(backward, `${settings.adjoint}: no solve`)],
            ['GPU memory', `${mebibytes(done.measuredPeakBytes)} measured, ${mebibytes(done.plannedPeakBytes)} planned`],
            ['resident', mebibytes(done.maxRssBytes)],
          ]).join('\n'),
    );
    return 0;
  } finally {
    gpu.close();
  }
}

/** How a solve ended; or, where none was run, what was done instead. */
const told = (outcome: Outcome | undefined, instead: string): string =>
  outcome ? `${outcome.result} after ${outcome.iterations} steps, relative residual ${outcome.relativeResidual.toExponential(1)}` : instead;
