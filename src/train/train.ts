// The training loop: draws pairs, runs steps, validates, keeps the best, and hands out checkpoints from which it goes on to the same
// result.
import type { Gpu } from '../gpu/device.ts';
import { Schedule } from '../graph/schedule.ts';
import { voxelSpacing } from '../io/affine.ts';
import type { ParameterValues } from '../models/parameters.ts';
import { seededRandom } from '../ops/random.ts';
import { drawIterations } from './budget.ts';
import { drawAugmentation } from './augment.ts';
import { type Checkpoint, readState, type Score, valuesOf, writeState } from './checkpoint.ts';
import { coarsen, digestOf, drawPair, type TrainingSet } from './data.ts';
import { watchLoss } from './loss-watch.ts';
import { atLevels, augmentationOf, learningRate, type Stage, totalSteps, type TrainOptions } from './options.ts';
import { adjointOf, beginTraining, runTrainingStep, traceTrainingStep, type TrainingOutcome, type TrainingStep } from './step.ts';

/** A line of the log: one step. */
export interface StepRecord {
  step: number;
  levels: readonly number[];
  /** Fixed and moving image. */
  pair: [string, string];
  loss: number;
  similarity: number;
  /** Of the training pair, where it has labels. */
  softDice?: number;
  gradientNorm: number;
  rate: number;
  /** Evaluations of the cell on all levels, of the forward and of the adjoint solve. */
  solverSteps: number;
  /** RMS residual of the finest level's forward solve, in its voxels. */
  residual?: number;
  seconds: number;
  /** GPU memory allocated, bytes. */
  peakBytes: number;
  /** Of a validation after this step: mean Dice of the validation pairs. */
  dice?: number;
  validation?: Record<string, number>;
  /** Of a stage's first step: a validation of the weights that the stage begins with, on its levels. */
  start?: Record<string, number>;
}

export interface TrainHooks {
  /** A step is done. Those after a rollback come again. */
  onStep?(record: StepRecord): void;
  /** Bad losses: the run goes back to `to`, at a lower rate. */
  onRollback?(event: { step: number; to: number; loss: number; rateScale: number }): void;
  /** To be kept, atomically. */
  onCheckpoint?(checkpoint: Checkpoint): Promise<void>;
  /** Measures weights on what is not trained on, on these levels. Without it the last weights are the result. */
  validate?(values: ParameterValues, levels: readonly number[]): Promise<Pick<Score, 'score' | 'figures'>>;
  /** Asked after each step: stop here, with a checkpoint? */
  stop?(): boolean;
}

/** Rollbacks after which training gives up, and what each multiplies the rate by. */
const ROLLBACKS = 5;
const LOWER = 0.5;

/** Training cannot go on from where it is. */
export class Diverged extends Error {}

/** The generator of a step's draws. */
const randomAt = (seed: number, step: number) => seededRandom(Math.imul(seed, 0x9e3779b1) + step);

/** The stage that step `step` (from 0) belongs to, and the step at which it ends. */
function stageAt(stages: readonly Stage[], step: number): { stage: Stage; end: number } {
  let end = 0;
  for (const stage of stages) if (step < (end += stage.steps)) return { stage, end };
  throw new Error(`train: no step ${step}, there are ${end}`);
}

/** Traces the step of a stage; `set` is on the grid of its finest level. */
export function traceStage(options: TrainOptions, { grid, subjects }: TrainingSet, stage: Stage, labels: readonly number[]): TrainingStep {
  const { levels } = stage;
  const dice = subjects.some((subject) => subject.labels) ? options.loss.dice : 0;
  return traceTrainingStep({
    ...options,
    grid,
    levels: levels.map((factor) => factor / levels.at(-1)!),
    lambda: options.cell === 'deqreg' ? atLevels(options.lambda, options, levels) : undefined,
    adjoint: adjointOf(options.adjoint, options.unrolledSteps),
    loss: { ...options.loss, dice },
    labels,
    augmentation: augmentationOf(options, subjects.length),
  });
}

/**
 * Trains on a set whose grid is that of the finest level of all stages, from the start or from a checkpoint, to the end or to where `stop`
 * says. Returns the last checkpoint. The same options, set and adapter give the same weights bit for bit, however often the run was
 * stopped.
 */
export async function train(
  gpu: Gpu,
  set: TrainingSet,
  labels: readonly number[],
  options: TrainOptions,
  hooks: TrainHooks = {},
  from?: Checkpoint,
): Promise<Checkpoint> {
  const subjects = set.subjects.map(({ id }) => id);
  if (!subjects.length) throw new Error('train: no images to train on');
  const { pairs } = set;
  const data = await digestOf(set, labels);
  const differing = from && differences(from, { options, subjects, pairs, data });
  if (differing?.length) throw new Error(`train: the checkpoint was made with other ${differing.join(', ')}`);
  const finest = Math.min(...options.stages.map(({ levels }) => levels.at(-1)!));
  const rateAt = learningRate(options);
  const end = totalSteps(options);
  let now: Checkpoint = from ?? {
    options,
    subjects,
    data,
    ...(pairs && { pairs }),
    step: 0,
    hours: 0,
    rateScale: 1,
    rollbacks: 0,
    watch: { bad: 0 },
    tensors: new Map(),
  };
  /** Where divergence goes back to, and the regular checkpoint that takes its place when the step from there is well. */
  let anchor = now.anchor ?? now;
  let next: Checkpoint | undefined = isRegular(now, options) ? now : undefined;
  const started = performance.now();
  const hoursBefore = now.hours;

  while (now.step < end) {
    const { stage, end: stageEnd } = stageAt(options.stages, now.step);
    const stageStart = stageEnd - stage.steps;
    const images = await coarsen(gpu, set, stage.levels.at(-1)! / finest);
    const traced = traceStage(options, images, stage, labels);
    const schedule = await Schedule.build(gpu, traced.graph);
    try {
      beginTraining(schedule, traced, options.seed);
      if (now.tensors.size) writeState(schedule, traced, now.tensors);
      else anchor = next = now = { ...now, tensors: await readState(schedule, traced) };
      const validate = async (step: number): Promise<Score> => {
        const values = valuesOf(await readState(schedule, traced), 'average');
        const found = await hooks.validate!(values, stage.levels);
        if (!Number.isFinite(found.score))
          throw new Error(`train: the validation after step ${step} has no score: ${JSON.stringify(found.figures)}`);
        return { step, levels: stage.levels, values, ...found };
      };
      let { step, best, watch } = now;
      let start: Score | undefined;
      if (step === stageStart) {
        watch = { bad: 0 }; // losses and scores on other levels do not compare
        // What the stage begins with is its first candidate; after a rollback to here it is that already.
        if (hooks.validate) {
          const validated = best?.step === step && `${best.levels}` === `${stage.levels}`;
          start = best = validated ? best! : await validate(step);
          now = { ...now, best };
          if (next) next = now;
        }
      }
      while (step < stageEnd) {
        const begun = performance.now();
        const rate = rateAt(step) * now.rateScale;
        const { pair, outcome } = await trainOn(schedule, traced, images, options, step, rate);
        const seen = watchLoss(watch, outcome, options.loss.dice);
        if (seen.diverged) {
          const { loss, gradientNorm } = outcome;
          const what = `at step ${step + 1} (loss ${loss}, gradient norm ${gradientNorm})`;
          if (step === 0)
            throw new Diverged(`train: no number with the weights that it begins with, ${what}; look at the images ${pair.join(' and ')}`);
          const { rateScale, rollbacks } = now;
          if (rollbacks >= ROLLBACKS) throw new Diverged(`train: diverged ${what} after ${rollbacks} rollbacks; choose a lower rate`);
          now = anchor = { ...anchor, rateScale: rateScale * LOWER, rollbacks: rollbacks + 1 };
          next = undefined;
          hooks.onRollback?.({ step: step + 1, to: now.step, loss, rateScale: now.rateScale });
          await hooks.onCheckpoint?.(now);
          break; // traced and restored anew
        }
        if (next && !seen.watch.bad) {
          const { anchor: _, ...well } = next;
          anchor = well;
        }
        next = undefined;
        step++;
        watch = seen.watch;
        const seconds = (performance.now() - begun) / 1e3;
        const record: StepRecord = {
          step,
          levels: stage.levels,
          pair,
          rate,
          seconds,
          peakBytes: gpu.ledger.live.total,
          ...figuresOf(outcome),
          ...(start && { start: start.figures }),
        };
        if (hooks.validate && (step % options.validateEvery === 0 || step === stageEnd)) {
          const found = await validate(step);
          if (!best || found.score > best.score) best = found;
          Object.assign(record, { dice: found.figures.dice, validation: found.figures });
        }
        start = undefined;
        hooks.onStep?.(record);
        const stop = hooks.stop?.();
        const regular = isRegular({ step, watch }, options);
        if (regular || stop) {
          const hours = hoursBefore + (performance.now() - started) / 3.6e6;
          now = { ...now, step, best, watch, hours, tensors: await readState(schedule, traced), anchor };
          if (regular) next = now;
          await hooks.onCheckpoint?.(now);
        }
        if (stop) return now;
      }
    } finally {
      schedule.destroy();
    }
  }
  return now;
}

/**
 * Is a checkpoint one that comes by itself, stop or no stop? Those are what divergence goes back to; none is made of bad losses but at a
 * stage's end.
 */
function isRegular({ step, watch }: Pick<Checkpoint, 'step' | 'watch'>, { stages, checkpointEvery }: TrainOptions): boolean {
  const ends = stages.map((_, i) => totalSteps({ stages: stages.slice(0, i) }));
  return ends.includes(step) || step === totalSteps({ stages }) || (step % checkpointEvery === 0 && !watch.bad);
}

/** What a record holds of a step's outcome. */
function figuresOf({ loss, similarity, dice, gradientNorm, levels }: TrainingOutcome) {
  const solves = levels.flatMap(({ forward, backward }) => [forward, backward]);
  return {
    loss,
    similarity,
    softDice: dice === undefined ? undefined : 1 - dice,
    gradientNorm,
    solverSteps: solves.reduce((sum, solve) => sum + (solve?.iterations ?? 0), 0),
    residual: levels.at(-1)!.forward?.residual,
  };
}

/** One step: everything random in it follows from the seed and its number. */
async function trainOn(
  schedule: Schedule,
  traced: TrainingStep,
  set: TrainingSet,
  options: TrainOptions,
  step: number,
  rate: number,
): Promise<{ pair: [string, string]; outcome: TrainingOutcome }> {
  const random = randomAt(options.seed, step);
  const [fixed, moving] = drawPair(set, random, !!traced.inputs.labelled).map((i) => set.subjects[i]) as [
    TrainingSet['subjects'][number],
    TrainingSet['subjects'][number],
  ];
  const { minIterations, maxIterations, tolerance } = options.solver;
  const budget = drawIterations(random, minIterations, maxIterations);
  const labels = traced.inputs.labelled && fixed.labels && moving.labels ? { fixed: fixed.labels, moving: moving.labels } : undefined;
  const augmentation = augmentationOf(options, set.subjects.length);
  const pair = {
    fixed: fixed.image,
    moving: moving.image,
    labels,
    augmentation: augmentation && drawAugmentation(random, augmentation, { size: set.grid.size, spacing: voxelSpacing(set.grid.affine) }),
  };
  return {
    pair: [fixed.id, moving.id],
    outcome: await runTrainingStep(schedule, traced, pair, { rate, maxIterations: budget, tolerance }),
  };
}

/** In what a checkpoint differs from what it is to go on with: options by their names. */
function differences(a: Checkpoint, b: Pick<Checkpoint, 'options' | 'subjects' | 'pairs' | 'data'>): string[] {
  const same = (x: unknown, y: unknown) => JSON.stringify(x) === JSON.stringify(y);
  const names = Object.keys({ ...a.options, ...b.options }) as (keyof TrainOptions)[];
  const options = names.filter((name) => !same(a.options[name], b.options[name]));
  return [...options, ...(same([a.subjects, a.pairs, a.data], [b.subjects, b.pairs, b.data]) ? [] : ['images'])];
}
