// Figures in tables: what was reached, what it took, and how it was made.
import { lostLabels } from '../lost-labels.ts';
import type { Content } from './content.ts';
import { div, element, figure, fixed, listing, section, table } from './dom.ts';

type Report = Content['report'];

/** The page's head: names, and the figures that one looks at first. */
export function head({ report, made }: Content): HTMLElement {
  const { dice, hd95, tre, similarity, foldingPercent, ndvPercent, sdLogJ, region, solver, seconds, inputs } = report;
  const arrow = (before: number, after: number, decimals: number) => `${fixed(before, decimals)} → ${fixed(after, decimals)}`;
  const lost = hd95 && lostLabels(hd95);
  const levels = solver.levels.filter(({ stage }) => !stage);
  const converged = levels.filter(({ result }) => result === 'converged').length;
  return element(
    'header',
    {},
    element('h1', {}, 'Registration report'),
    element('p', {}, element('b', {}, name(inputs.moving)), ' (moving) to ', element('b', {}, name(inputs.fixed)), ' (fixed)'),
    element(
      'p',
      { className: 'note' },
      `deqreg ${report.version}, ${made.slice(0, 16).replace('T', ' ')} UTC, ${report.adapter.description}`,
    ),
    ...report.warnings.map((line) => element('p', { className: 'warning' }, line)),
    div(
      'figures',
      ...(dice ? [figure('Dice', arrow(dice.before, dice.mean, 3), `mean of ${Object.keys(dice.perLabel).length} labels`)] : []),
      ...(hd95 ? [figure('HD95', lost ? '–' : `${fixed(hd95.mean, 2)} mm`, lost || 'mean of the labels')] : []),
      ...(tre ? [figure('TRE', `${arrow(tre.before, tre.after, 2)} mm`, 'mean of the landmarks')] : []),
      figure('LNCC', arrow(similarity.before, similarity.after, 3), 'finest level'),
      figure(
        'Folds',
        `${fixed(foldingPercent, 3)} %`,
        `J ≤ 0 in the ${region}${Number.isFinite(ndvPercent) ? `; NDV ${fixed(ndvPercent, 4)} %` : ''}`,
      ),
      figure('SDlogJ', fixed(sdLogJ, 3), region),
      figure('Solver', `${converged} of ${levels.length}`, 'levels converged'),
      figure('Time', `${fixed(seconds.total, 1)} s`, `of these ${fixed(seconds.solve, 1)} s solving`),
    ),
  );
}

const name = (path: string) => path.split(/[\\/]/).pop()!;

const known = [
  'dice',
  'hd95',
  'tre',
  'region',
  'foldingPercent',
  'ndvPercent',
  'sdLogJ',
  'sdLogJLearn2Reg',
  'grid',
  'similarity',
  'solver',
  'seconds',
  'memory',
  'adapter',
  'version',
  'options',
  'intensities',
  'inputs',
  'warnings',
];

export function tables({ report, command }: Content): HTMLElement[] {
  const { seconds, memory, adapter, options, intensities, inputs, version } = report;
  const block = (title: string, ...children: HTMLElement[]) => div('block', element('h3', {}, title), ...children);
  const more = Object.entries(report)
    .filter(([key, value]) => !known.includes(key) && value !== undefined)
    .map(([key, value]) => block(`${key[0].toUpperCase()}${key.slice(1)}`, listing(value instanceof Object ? value : { value })));
  return [
    section(
      'Figures',
      `Regularity is measured in the ${report.region} and in the whole grid; Dice, HD95 and TRE on the fixed grid.`,
      div('blocks', block('Metrics', metrics(report)), ...labels(report)),
    ),
    section(
      'Run',
      'What it took and how it was made; metrics.json holds the same.',
      div(
        'blocks',
        block(
          'Seconds by stage',
          table(
            ['Stage', 's'],
            Object.entries(seconds).map(([stage, s]) => [stage, fixed(s, 2)]),
          ),
        ),
        block('GPU memory (MiB)', memoryTable(memory)),
        block('Device', listing({ ...adapter, deqreg: version })),
        ...more,
        block('Options', listing(options)),
        block('Inputs', listing(inputs)),
        block('Intensity windows', listing(intensities)),
      ),
      element('h3', {}, 'Command'),
      element('pre', {}, command),
    ),
  ];
}

function metrics({
  dice,
  hd95,
  tre,
  similarity,
  foldingPercent,
  ndvPercent,
  sdLogJ,
  sdLogJLearn2Reg,
  grid,
  region,
}: Report): HTMLTableElement {
  const none = '–';
  return table(
    ['', 'before', 'after'],
    [
      ...(dice ? [['Dice, mean', fixed(dice.before, 4), fixed(dice.mean, 4)]] : []),
      ...(hd95 ? [['HD95, mean (mm)', none, fixed(hd95.mean, 2)]] : []),
      ...(tre ? [['TRE, mean (mm)', fixed(tre.before, 2), fixed(tre.after, 2)]] : []),
      ['LNCC, finest level', fixed(similarity.before, 4), fixed(similarity.after, 4)],
      [`Folds, ${region} (%)`, none, fixed(foldingPercent, 4)],
      ['Folds, whole grid (%)', none, fixed(grid.foldingPercent, 4)],
      [`Non-diffeomorphic volume, ${region} (%)`, none, fixed(ndvPercent, 5)],
      [`SDlogJ, ${region}`, none, fixed(sdLogJ, 4)],
      ['SDlogJ, whole grid', none, fixed(grid.sdLogJ, 4)],
      [`SD of log(J + 3), ${region}`, none, fixed(sdLogJLearn2Reg, 4)],
    ],
  );
}

/** Dice and HD95 of each label, in at most three tables side by side. */
function labels({ dice, hd95 }: Report): HTMLElement[] {
  if (!dice) return [];
  const rows = Object.entries(dice.perLabel).map(([label, after]) => [
    label,
    fixed(dice.perLabelBefore[label], 3),
    fixed(after, 3),
    bar(dice.perLabelBefore[label], after),
    fixed(hd95?.perLabel[label], 2),
  ]);
  const length = Math.max(10, Math.ceil(rows.length / 3));
  const parts = Array.from({ length: Math.ceil(rows.length / length) }, (_, n) => rows.slice(n * length, (n + 1) * length));
  return [
    div(
      'labels',
      element('h3', {}, 'Labels (bar: Dice after, tick: before, from 0 to 1)'),
      div('blocks', ...parts.map((part) => table(['Label', 'Dice before', 'after', '', 'HD95 (mm)'], part))),
    ),
  ];
}

/** Dice after as a bar, before as a tick on it. */
function bar(before: number, after: number): HTMLElement {
  const [fill, tick] = [element('i'), element('b')];
  fill.style.width = `${100 * after}%`;
  tick.style.left = `${100 * before}%`;
  return div('share', fill, tick);
}

function memoryTable({ planned, measured }: Report['memory']): HTMLTableElement {
  const mebibytes = (bytes: number) => fixed(bytes / 2 ** 20, 1);
  const rows = Object.entries(planned.byTag).map(
    ([tag, bytes]) => [tag, bytes, (measured.byTag as Record<string, number>)[tag] ?? 0] as const,
  );
  return table(
    ['For', 'planned', 'measured'],
    [...rows.filter(([, a, b]) => a || b), ['total', planned.total, measured.total] as const].map(([tag, a, b]) => [
      tag,
      mebibytes(a),
      mebibytes(b),
    ]),
  );
}
