// The page of a training: one self-contained file; its script (training-page.ts) draws everything from the JSON embedded here. It can be
// made at any time: of a training that has hardly begun it shows what there is.
import licence from 'uplot/LICENSE';
import type { Row } from './plot.ts';
import { htmlPage } from './html.ts';
import script from './training-page.ts?bundle';

/** Of a line of log.jsonl, what the page reads. A number that is not finite may be there or, as JSON has it, null. */
export interface StepRecord {
  step: number;
  levels: readonly number[];
  loss: number | null;
  similarity: number | null;
  softDice?: number | null;
  gradientNorm: number | null;
  rate: number | null;
  solverSteps: number | null;
  residual?: number | null;
  seconds: number;
  peakBytes: number;
  /** At validations only. */
  dice?: number | null;
  validation?: Record<string, number | null>;
  /** At a stage's first step: of the weights before it. */
  start?: Record<string, number | null>;
}

/** The weights went back to those of an earlier step. */
export interface Rollback {
  event: 'rollback';
  step: number;
  to: number;
  loss: number | null;
  rateScale: number;
}

export interface TrainingPage {
  title: string;
  command: string;
  records: readonly StepRecord[];
  events: readonly Rollback[];
  /** Name and value a row: how the training is made and what it takes. */
  facts: readonly (readonly [string, string])[];
}

const columns = ['loss', 'similarity', 'softDice', 'gradientNorm', 'rate', 'solverSteps', 'residual', 'seconds'] as const;

/** What training.ts hands to the page as JSON. */
export interface TrainingContent {
  title: string;
  command: string;
  made: string;
  facts: [string, string][];
  steps: number[];
  columns: Record<(typeof columns)[number], Row>;
  /** Steps of the same levels, one after the other, by their indices in `steps`. */
  stages: { levels: string; first: number; last: number; peakBytes: number }[];
  /** By the indices of their steps and of their stages; what a stage begins with is at the step before its first, the first stage at −1. */
  validations: { at: number; stage: number; figures: Record<string, number | null> }[];
  rollbacks: Omit<Rollback, 'event'>[];
  /** Of all steps, also those that were taken back. */
  seconds: number;
  licence: string;
}

/** The whole page. */
export const trainingPage = (content: TrainingPage): string => htmlPage('deqreg training', trainingContent(content), script);

/** What the page shows, without gaps in its columns: what is missing or not finite is null. */
export function trainingContent({ title, command, records, events, facts }: TrainingPage): TrainingContent {
  const kept = course(records);
  const stages: TrainingContent['stages'] = [];
  kept.forEach(({ levels, peakBytes }, n) => {
    const last = stages.at(-1),
      name = levels.join();
    if (last?.levels === name) Object.assign(last, { last: n, peakBytes: Math.max(last.peakBytes, peakBytes) });
    else stages.push({ levels: name, first: n, last: n, peakBytes });
  });
  return {
    title,
    command,
    made: new Date().toISOString(),
    facts: facts.map(([name, value]) => [name, value]),
    steps: kept.map(({ step }) => step),
    columns: Object.fromEntries(columns.map((name) => [name, kept.map((record) => number(record[name]))])) as TrainingContent['columns'],
    stages,
    validations: kept.flatMap(({ dice, validation, start }, at) => {
      const stage = stages.findIndex(({ last }) => at <= last);
      const after = dice === undefined ? validation : { dice, ...validation };
      return [
        ...(start ? [{ at: at - 1, stage, figures: numbers(start) }] : []),
        ...(after ? [{ at, stage, figures: numbers(after) }] : []),
      ];
    }),
    rollbacks: events.map(({ step, to, loss, rateScale }) => ({ step, to, loss: number(loss), rateScale })),
    seconds: records.reduce((sum, { seconds }) => sum + (number(seconds) ?? 0), 0),
    licence,
  };
}

/**
 * The steps that led to the weights: one that comes again, after a rollback or an interruption, takes the place of itself and all after it.
 */
function course(records: readonly StepRecord[]): StepRecord[] {
  const kept: StepRecord[] = [];
  for (const record of records) {
    while (kept.length && kept.at(-1)!.step >= record.step) kept.pop();
    kept.push(record);
  }
  return kept;
}

/** To six digits, as no chart shows more. */
const number = (value: number | null | undefined) =>
  typeof value === 'number' && Number.isFinite(value) ? Number(value.toPrecision(6)) : null;
const numbers = (figures: Record<string, number | null>) =>
  Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, number(value)]));
