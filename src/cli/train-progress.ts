// What a training prints while it runs, on stderr: one line that is updated on a terminal; a line every ten steps and at validations
// elsewhere.
import type { Stage } from '../train/options.ts';
import { duration } from './duration.ts';
import { clearStatus, showStatus, width } from './status-line.ts';

/** What the progress shows of a step; `step` is the number of steps that are done with it, over all stages. */
export interface ProgressRecord {
  step: number;
  levels: readonly number[];
  loss: number;
  solverSteps: number;
  residual?: number;
  seconds: number;
  peakBytes: number;
  /** At validations only. */
  dice?: number;
  validation?: Record<string, number>;
  /** At a stage's first step: of the weights before it. */
  start?: Record<string, number>;
}

export interface TrainProgress {
  step(record: ProgressRecord): void;
  /** The weights went back from `step` to those of step `to`. */
  rollback(event: { step: number; to: number; loss: number; rateScale: number }): void;
  /** A line that stays. */
  note(text: string): void;
  /** Ends the report; call it also when the training failed. */
  end(): void;
}

/** Steps over which the loss and the time of a step are averaged. */
const WINDOW = 20;
/** A line every so many steps, where lines stay. */
const EVERY = 10;

/** Progress of a training of these stages, of which `from` steps are done already. */
export function trainProgress(quiet: boolean, stages: readonly Stage[], from: number): TrainProgress {
  if (quiet) return { step() {}, rollback() {}, note() {}, end() {} };
  const describe = describer(stages);
  const progress = process.stderr.isTTY ? updatedLine(describe) : lineATime(describe, total(stages));
  if (from > 0) progress.note(`goes on after step ${from}/${total(stages)}`);
  return progress;
}

type Describe = (record: ProgressRecord) => Part[];

function updatedLine(describe: Describe): TrainProgress {
  let line = '';
  const note = (text: string) => {
    clearStatus();
    console.error(text);
    showStatus(line);
  };
  return {
    step(record) {
      line = fitted(describe(record), width());
      showStatus(line);
    },
    rollback: (event) => note(rolledBack(event)),
    note,
    end: clearStatus,
  };
}

function lineATime(describe: Describe, steps: number): TrainProgress {
  let last: { levels: string; unsaid?: string } | undefined;
  const note = (text: string) => console.error(text);
  return {
    step(record) {
      const text = fitted(describe(record), Infinity),
        levels = record.levels.join();
      const tell =
        last?.levels !== levels || record.step % EVERY === 0 || record.step === steps || record.dice !== undefined || record.validation;
      if (tell) note(text);
      last = { levels, unsaid: tell ? undefined : text };
    },
    rollback: (event) => note(rolledBack(event)),
    note,
    end() {
      if (last?.unsaid) note(last.unsaid);
      last = undefined;
    },
  };
}

const rolledBack = ({ step, to, loss, rateScale }: Parameters<TrainProgress['rollback']>[0]) =>
  `step ${step}: loss ${Number.isFinite(loss) ? short(loss, 3) : 'not finite'}, back to step ${to}, learning rate × ${short(rateScale, 3)}`;

/** A piece of the line; where the line is too long, those of the highest rank are left out first. */
interface Part {
  text: string;
  rank: number;
}

/** The pieces that fit into a width, as one line. */
export function fitted(parts: readonly Part[], width: number): string {
  const highest = Math.max(...parts.map(({ rank }) => rank));
  const line = parts.map(({ text }) => text).join(', ');
  if (line.length <= width || highest <= 0) return line.slice(0, width);
  return fitted(
    parts.filter(({ rank }) => rank < highest),
    width,
  );
}

/** Keeps what has to be kept from step to step, and says each of them in pieces. */
function describer(stages: readonly Stage[]): Describe {
  const steps = total(stages);
  const seconds = stages.map((): number[] => []);
  let losses: number[] = [],
    levels = '',
    validated: string | undefined,
    before: number | undefined;
  return (record) => {
    const stage = stageOf(stages, record.step);
    if (record.levels.join() !== levels) {
      losses = [];
      validated = undefined; // on other levels
    }
    // Between two steps lies all that a step takes, validation too; before the first of a stage also what is made once, so it reports its
    // own.
    const now = performance.now(),
      first = before === undefined || record.levels.join() !== levels;
    seconds[stage].push(first ? record.seconds : (now - before!) / 1e3);
    before = now;
    levels = record.levels.join();
    if (Number.isFinite(record.loss)) losses = [...losses, record.loss].slice(-WINDOW);
    validated = validation(record) ?? (record.start && validation({ step: record.step - 1, validation: record.start })) ?? validated;

    const left = secondsLeft(
      stages,
      record.step,
      seconds.map((of) => mean(of)),
    );
    const loss = losses.length ? `loss ${mean(losses)!.toFixed(3)} (mean)` : 'loss not finite';
    const pieces: [string, number][] = [
      [`step ${record.step}/${steps}`, 0],
      [`levels ${levels}`, 3],
      [loss, 1],
      [validated ?? '', 2],
      [`${record.solverSteps} evaluations`, 5],
      [record.residual === undefined ? '' : `residual ${short(record.residual)}`, 6],
      [`${short(mean(seconds[stage].slice(-WINDOW))!)} s/step`, 4],
      [`${Math.round(record.peakBytes / 2 ** 20)} MiB`, 7],
      [left === undefined ? '' : `${duration(left)} left`, 1],
    ];
    return pieces.filter(([text]) => text).map(([text, rank]) => ({ text, rank }));
  };
}

/** The figure of a validation, if the step has one. */
function validation({ step, dice, validation = {} }: Pick<ProgressRecord, 'step' | 'dice' | 'validation'>): string | undefined {
  const overlap = dice ?? validation.dice;
  if (overlap !== undefined) return `Dice ${overlap.toFixed(3)} at ${step}`;
  if (validation.tre !== undefined) return `TRE ${validation.tre.toFixed(2)} mm at ${step}`;
  if (validation.lncc !== undefined) return `LNCC ${validation.lncc.toFixed(3)} at ${step}`;
  return undefined;
}

/**
 * Seconds that the stages take after `done` steps, from the mean time of a step in each of them. A stage that has none yet is taken to
 * cost as much a voxel of its levels as the last one that has; undefined where none has.
 */
export function secondsLeft(stages: readonly Stage[], done: number, perStep: readonly (number | undefined)[]): number | undefined {
  const known = stages.findLastIndex((_, n) => perStep[n] !== undefined);
  if (known < 0) return undefined;
  const aVoxel = perStep[known]! / voxels(stages[known]);
  let begin = 0;
  return stages.reduce((sum, stage, n) => {
    const open = Math.min(Math.max(begin + stage.steps - done, 0), stage.steps);
    begin += stage.steps;
    return sum + open * (perStep[n] ?? aVoxel * voxels(stage));
  }, 0);
}

/** The voxels of all levels, as a share of those at full resolution. */
const voxels = ({ levels }: Stage) => levels.reduce((sum, level) => sum + level ** -3, 0);
const total = (stages: readonly Stage[]) => stages.reduce((sum, { steps }) => sum + steps, 0);

/** The index of the stage in which a step, counted from 1, is done; the last one for all beyond. */
function stageOf(stages: readonly Stage[], step: number): number {
  let end = 0;
  const at = stages.findIndex(({ steps }) => (end += steps) >= step);
  return at < 0 ? stages.length - 1 : at;
}

const mean = (values: readonly number[]) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined);
const short = (value: number, digits = 2) => String(Number(value.toPrecision(digits)));
