// Has training diverged? Losses of single pairs are noisy, and one with labels has a Dice term that others lack: like is compared with
// like.
import type { TrainingOutcome } from './step.ts';

/** What is remembered of the losses. */
export interface LossWatch {
  /** Running means, over the pairs with labels and over those without. */
  labelled?: number;
  unlabelled?: number;
  /** How many in a row have been far above their mean. */
  bad: number;
}

/**
 * Share of the loss's range (LNCC's, and that of the weighted Dice) above its mean that counts as bad; at so many in a row it has diverged.
 */
const BAD = 0.25;
const BAD_IN_ROW = 5;
const MEMORY = 0.95;

/**
 * Training has diverged where the loss is no number, or where losses far above the mean of those before, or gradients that are no numbers
 * (at which no step is taken), come in a row. `diceWeight` is that of the loss.
 */
export function watchLoss(
  watch: LossWatch,
  { loss, dice, gradientNorm }: Pick<TrainingOutcome, 'loss' | 'dice' | 'gradientNorm'>,
  diceWeight: number,
): { diverged: boolean; watch: LossWatch } {
  const [kind, range] = dice === undefined ? (['unlabelled', 1] as const) : (['labelled', 1 + diceWeight] as const);
  const mean = watch[kind];
  const above = mean !== undefined && loss > mean + BAD * range;
  const seen =
    above || !Number.isFinite(gradientNorm)
      ? { ...watch, bad: watch.bad + 1 }
      : { ...watch, [kind]: mean === undefined ? loss : MEMORY * mean + (1 - MEMORY) * loss, bad: 0 };
  return { diverged: !Number.isFinite(loss) || seen.bad >= BAD_IN_ROW, watch: seen };
}
