// The script of a training's page: reads the JSON embedded in the page and draws it.
import { duration } from '../duration.ts';
import { credits, div, element, figure, fixed, pairs, section, short, swatch, table } from './dom.ts';
import { type Chart, COLOURS, type Curve, plot, type Row } from './plot.ts';
import { limits, mean, runningMean, windowOf } from './series.ts';
import type { TrainingContent } from './training.ts';

const content: TrainingContent = JSON.parse(document.getElementById('content')!.textContent);
const { steps, columns, stages, validations, rollbacks } = content;
const [OURS, VALIDATION] = COLOURS as [string, string];
const ROLLBACK = '#c00000';
const stageColour = (n: number) => `${COLOURS[(n + 2) % COLOURS.length]}18`;
const window = windowOf(steps.length);
/** The x of all charts: the steps, and the one before them, where there may be a validation. */
const along = steps.length ? [steps[0] - 1, ...steps] : [];
const starts = stages.map(({ first }) => first);
const plural = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;

const known: Record<string, { title: string; decimals: number }> = {
  dice: { title: 'Dice', decimals: 4 },
  tre: { title: 'TRE (mm)', decimals: 3 },
  lncc: { title: 'LNCC', decimals: 4 },
  foldingPercent: { title: 'Folds (%)', decimals: 4 },
  sdLogJ: { title: 'SDlogJ', decimals: 4 },
  residual: { title: 'Residual', decimals: 4 },
};
const measured = [...new Set(validations.flatMap(({ figures }) => Object.keys(figures)))].sort((a, b) => order(a) - order(b));
function order(name: string): number {
  const at = Object.keys(known).indexOf(name);
  return at < 0 ? Infinity : at;
}
const titleOf = (name: string) => known[name]?.title ?? name;
const stage = stages.at(-1);
/** The validations of the last stage; those on other levels do not compare. */
const latest = validations.filter((validation) => validation.stage === stages.length - 1);
const stepOf = ({ at }: (typeof validations)[number]) => along[at + 1];
/** Of the last stage, the validation that served best: the largest Dice, or else the smallest TRE. */
const best = (() => {
  const name = ['dice', 'tre'].find((name) => measured.includes(name));
  if (!name || !latest.length) return undefined;
  const worth = latest.map(({ figures }) => (figures[name] ?? Infinity) * (name === 'dice' && figures[name] != null ? -1 : 1));
  return { name, validation: latest[worth.indexOf(Math.min(...worth))] };
})();

/** Charts are drawn once their places are on the page. */
const drawings: (() => void)[] = [];

function chart(title: string, curves: Curve[], more: Pick<Chart, 'log'> = {}): HTMLElement[] {
  const shown = curves.filter(({ values }) => values.some((value) => value !== null));
  if (!shown.length) return [];
  const at = div('chart');
  const ends = [steps[0], ...rollbacks.map(({ to }) => to)],
    far = [steps.at(-1)!, ...rollbacks.map(({ step }) => step)];
  drawings.push(() =>
    plot(at, {
      title,
      x: { label: 'step', values: along, range: [Math.min(...ends) - 1, Math.max(...far) + 1] },
      curves: shown,
      bands:
        stages.length < 2
          ? []
          : stages.map(({ first, last }, n) => ({
              from: n ? steps[first] - 0.5 : -Infinity,
              to: n === stages.length - 1 ? Infinity : steps[last + 1] - 0.5,
              colour: stageColour(n),
            })),
      marks: rollbacks.map(({ step }) => ({ at: step, colour: ROLLBACK })),
      ...more,
    }),
  );
  return [at];
}

/** A curve of a value each step. */
const each = (label: string, values: Row, as: Curve['as']): Curve => ({ label, colour: OURS, values: [null, ...values], as });

/** Each step as a dot, and the running mean. */
const eachAndMean = (values: Row) => [each('step', values, 'dots'), each('mean', runningMean(values, starts, window), 'line')];

/** A chart of each step and the running mean, both without the few values that would flatten all others; its title says how many. */
function training(title: string, values: Row): HTMLElement[] {
  const ends = limits(values);
  if (!ends) return chart(title, eachAndMean(values));
  const within = values.map((value) => (value !== null && value >= ends.low && value <= ends.high ? value : null));
  return chart(`${title}, without ${plural(ends.outside, 'step')} far off`, eachAndMean(within));
}

/** A chart on a logarithmic axis, where what is not above 0 has no place. */
function logarithmic(title: string, curves: Curve[]): HTMLElement[] {
  const positive = (values: Row) => values.map((value) => (value !== null && value > 0 ? value : null));
  return chart(
    title,
    curves.map((curve) => ({ ...curve, values: positive(curve.values) })),
    { log: true },
  );
}

/** A curve a stage. */
const validated = (name: string): Curve[] =>
  stages.map((_, n) => {
    const values: Row = along.map(() => null);
    for (const { at, stage, figures } of validations) if (stage === n) values[at + 1] = figures[name] ?? null;
    return { label: titleOf(name), colour: VALIDATION, values, as: 'joined' };
  });

/** The means of the last stage's first steps and of its last. */
function thenAndNow(values: Row): [number | null, number | null] {
  const own = values.slice(stage?.first);
  return [mean(own.slice(0, window)), mean(own.slice(-window))];
}

function head(): HTMLElement {
  /** What a stage, the last, began with and has now: figures of other levels do not compare. */
  const arrow = (from: number | null | undefined, to: number | null | undefined, decimals: number, several: boolean) =>
    `${several ? `${fixed(from, decimals)} → ` : ''}${fixed(to, decimals)}`;
  const own = stage ? stage.last - stage.first + 1 : 0;
  const means = stage ? `mean of ${plural(Math.min(window, own), 'step')}` : '';
  const on = stage ? `, levels ${stage.levels}` : '';
  const validation = (name: string, decimals: number, unit = '') => {
    const values = latest.map(({ figures }) => figures[name]);
    if (!latest.some(({ figures }) => name in figures)) return [];
    const more =
      best?.name === name ? `best ${fixed(best.validation.figures[name], decimals)} at ${stepOf(best.validation)}` : 'validation';
    const range = arrow(values[0], values.at(-1), decimals, values.length > 1);
    return [figure(`${titleOf(name).replace(/ \(.*/, '')}${on}`, `${range}${unit}`, more)];
  };
  return element(
    'header',
    {},
    element('h1', {}, 'Training'),
    element('p', {}, element('b', {}, content.title)),
    element('p', { className: 'note' }, `${content.made.slice(0, 16).replace('T', ' ')} UTC`),
    div(
      'figures',
      figure('Step', steps.length ? String(steps.at(-1)) : '–', stage ? `levels ${stage.levels}` : 'none yet'),
      figure(`Loss${on}`, arrow(...thenAndNow(columns.loss), 3, own > window), means),
      ...validation('dice', 3),
      ...validation('tre', 2, ' mm'),
      ...validation('lncc', 3),
      ...validation('foldingPercent', 3, ' %'),
      figure('Evaluations', fixed(thenAndNow(columns.solverSteps)[1], 1), means),
      figure('Residual', short(thenAndNow(columns.residual)[1]), means),
      figure('Time in steps', duration(content.seconds), `${short(thenAndNow(columns.seconds)[1])} s a step now`),
    ),
  );
}

function run(): HTMLElement {
  const block = (title: string, ...children: HTMLElement[]) => div('block', element('h3', {}, title), ...children);
  const stageRows = stages.map(({ levels, first, last, peakBytes }, n) => {
    const means = (values: Row) => mean(values.slice(first, last + 1));
    return [
      stages.length > 1 ? swatch(stageColour(n), levels) : levels,
      `${steps[first]} – ${steps[last]}`,
      fixed(mean(columns.loss.slice(first, last + 1).slice(-window)), 4),
      fixed(means(columns.solverSteps), 1),
      short(means(columns.residual)),
      short(means(columns.seconds)),
      fixed(peakBytes / 2 ** 20, 0),
    ];
  });
  const rollbackRows = rollbacks.map(({ step, to, loss, rateScale }) => [
    String(step),
    String(to),
    loss === null ? 'not finite' : short(loss),
    `× ${short(rateScale)}`,
  ]);
  return section(
    'Run',
    'What is trained, and what it takes.',
    element('pre', {}, content.command),
    div(
      'blocks',
      ...(content.facts.length ? [block('Facts', pairs(content.facts))] : []),
      ...(stages.length
        ? [
            block(
              'Stages',
              table(['Levels (1/n)', 'Steps', 'Loss, at the end', 'Evaluations', 'Residual', 'Seconds a step', 'Peak (MiB)'], stageRows),
            ),
          ]
        : []),
      ...(rollbacks.length ? [block('Rollbacks', table(['Step', 'Back to', 'Loss', 'Learning rate'], rollbackRows))] : []),
    ),
  );
}

const key = () =>
  div(
    'key',
    swatch(OURS, `training pairs: a dot each step, a line for the mean of ${window} steps of the stage`),
    ...(validations.length ? [swatch(VALIDATION, 'validation')] : []),
    ...(stages.length > 1 ? stages.map(({ levels }, n) => swatch(stageColour(n), `levels ${levels}`)) : []),
    ...(rollbacks.length ? [swatch(ROLLBACK, 'rollback')] : []),
  );

function validationTable(): HTMLElement {
  const titles = new Map<(typeof validations)[number], string>();
  for (const n of stages.keys()) {
    const own = validations.filter(({ stage }) => stage === n);
    for (const [title, validation] of [
      ['First', own[0]],
      ['Best', n === stages.length - 1 ? best?.validation : undefined],
      ['Last', own.at(-1)],
    ] as const)
      if (validation) titles.set(validation, titles.has(validation) ? `${titles.get(validation)}, ${title.toLowerCase()}` : title);
  }
  return table(
    ['Levels', 'Validation', 'Step', ...measured.map(titleOf)],
    [...titles].map(([validation, title]) => [
      stages[validation.stage].levels,
      title,
      String(stepOf(validation)),
      ...measured.map((name) => fixed(validation.figures[name], known[name]?.decimals ?? 4)),
    ]),
  );
}

const sections = steps.length
  ? [
      section(
        'Training pairs',
        'Against the step; every step has another pair.',
        key(),
        div(
          'charts',
          ...training('Loss', columns.loss),
          ...training('Similarity', columns.similarity),
          ...training('Soft Dice', columns.softDice),
          ...training('Seconds a step', columns.seconds),
        ),
      ),
      section(
        'Validation',
        validations.length
          ? 'Pairs that are not trained on; each stage begins with the weights before its first step, on its levels.'
          : 'None yet.',
        ...(validations.length ? [validationTable()] : []),
        div('charts', ...measured.filter((name) => name !== 'residual').flatMap((name) => chart(titleOf(name), validated(name)))),
      ),
      section(
        'Solver and optimizer',
        'Evaluations of the update until the fixed point, and how far from it the solve ended; then what the weights were moved by.',
        div(
          'charts',
          ...chart('Evaluations', eachAndMean(columns.solverSteps)),
          ...logarithmic('Residual', [...eachAndMean(columns.residual), ...validated('residual')]),
          ...logarithmic('Norm of the gradient', eachAndMean(columns.gradientNorm)),
          ...logarithmic('Learning rate', [each('rate', columns.rate, steps.length > 1 ? 'line' : 'dots')]),
        ),
      ),
    ]
  : [section('Course', 'No step yet.')];

document.title = `deqreg training: ${content.title}`;
document.body.append(element('main', { className: 'training' }, head(), run(), ...sections, credits(content.licence)));
drawings.forEach((draw) => draw());
document.body.dataset.state = 'ready';
