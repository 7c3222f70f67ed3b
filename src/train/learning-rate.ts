// Learning-rate schedules: the rate of a step, counted from 0. Upload it to the tensor that `adam` was given as its rate.

export type LearningRate = (step: number) => number;

export const constantRate =
  (rate: number): LearningRate =>
  () =>
    rate;

/** From `rate` along half a cosine to `last` at step `steps`, then constant (Loshchilov & Hutter, ICLR 2017, without restarts). */
export const cosineRate =
  (rate: number, steps: number, last = 0): LearningRate =>
  (step) =>
    last + ((rate - last) * (1 + Math.cos((Math.PI * Math.min(step, steps)) / steps))) / 2;

/** `rate`, times `factor` after every `every` steps. */
export const stepRate =
  (rate: number, every: number, factor = 0.1): LearningRate =>
  (step) =>
    rate * factor ** Math.floor(step / every);

/** The first `steps` steps rise linearly to the first rate of the schedule that follows. */
export const linearWarmUp =
  (steps: number, then: LearningRate): LearningRate =>
  (step) =>
    step < steps ? (then(0) * (step + 1)) / steps : then(step - steps);
