// The script of evaluation.html: means by method, plots of the pairs, and a row a pair and method.
import { type Figure, figureNames, figures, mixedRegions, type Run } from '../evaluation/figures.ts';
import { fewer } from '../evaluation/summary.ts';
import { credits, div, element, fixed, listing, section, swatch, table } from './dom.ts';
import type { EvaluationContent } from './evaluation.ts';
import { COLOURS } from './plot.ts';
import { type Points, scatter } from './scatter.ts';

const content: EvaluationContent = JSON.parse(document.getElementById('content')!.textContent);
const { data, methods, means, runs, adapter, version, made, command, licence } = content;
document.title = `deqreg: evaluation on ${data.name}`;

const colourOf = (method: string) => methods.findIndex(({ name }) => name === method) % COLOURS.length;
const named = (method: string) => swatch(COLOURS[colourOf(method)], method);
/** Figures that any run has. */
const shown = figureNames.filter((name) => runs.some((run) => typeof run.figures?.[name] === 'number'));
const failed = runs.filter(({ error }) => error !== undefined);
/** What the plots show: overlap where there are labels, else the landmarks' error, else regularity. */
const plotted = (['dice', 'tre', 'sdLogJ'] as const).find((name) => shown.includes(name));
const before: Partial<Record<Figure, Figure>> = { dice: 'diceBefore', tre: 'treBefore' };
const valuesOf = (method: string, x: Figure | undefined, y: Figure): [number | null, number | null][] =>
  runs.filter((run) => run.method === method).map(({ figures }) => [x ? (figures?.[x] ?? null) : 0, figures?.[y] ?? null]);

function head(): HTMLElement {
  return element(
    'header',
    {},
    element('h1', {}, 'Evaluation'),
    element('p', {}, element('b', {}, data.name), `, ${data.split}: ${data.pairs} pairs by ${methods.map(({ name }) => name).join(', ')}`),
    element('p', { className: 'note' }, `deqreg ${version}, ${made.slice(0, 16).replace('T', ' ')} UTC, ${adapter.description}`),
    ...(failed.length
      ? [
          element('p', { className: 'warning' }, `${failed.length} of ${runs.length} runs failed; the means are of the others.`),
          element('ul', {}, ...failed.map(({ pair, method, error }) => element('li', {}, `${pair}, ${method}: ${error}`))),
        ]
      : []),
  );
}

function summary(): HTMLElement {
  const rows = means.map(({ method, runs, failed, means }) => [
    named(method),
    `${runs - failed} of ${runs}`,
    ...shown.map((name) => {
      const found = means[name];
      if (!found) return '–';
      const sd = found.sd === null ? '' : ` ± ${fixed(found.sd, figures[name].digits)}`;
      return fixed(found.mean, figures[name].digits) + sd + fewer(found, runs - failed);
    }),
  ]);
  return section(
    'Methods',
    ['Mean ± standard deviation over the pairs (n − 1)', mixedRegions(runs)].filter(Boolean).join('; ') + '.',
    table(['Method', 'Runs', ...shown.map((name) => figures[name].title)], rows),
  );
}

/** Runs of a pair lie at one place across, in every method. */
function plots(): [HTMLElement[], () => void] {
  if (!plotted) return [[], () => {}];
  const strips = div('chart'),
    times = div('chart');
  const name = figures[plotted].title,
    old = before[plotted];
  const pairs = [...new Set(runs.map(({ pair }) => pair))];
  const across = (pair: string) => (pairs.length < 2 ? 0 : (pairs.indexOf(pair) / (pairs.length - 1) - 0.5) * 0.5);
  const strip = (at: number, of: (run: Run) => number | null | undefined, chosen: Run[]) =>
    chosen.flatMap((run): [number, number][] => {
      const value = of(run);
      return typeof value === 'number' ? [[at + across(run.pair), value]] : [];
    });
  const shift = old ? 1 : 0;
  const firstOfPairs = pairs.flatMap((pair) => runs.find((run) => run.pair === pair && run.figures) ?? []);
  const groups: Points[] = [
    ...(old ? [{ label: 'before', points: strip(0, (run) => run.figures?.[old], firstOfPairs) }] : []),
    ...methods.map(({ name: method }, n) => ({
      label: method,
      colour: n,
      points: strip(
        n + shift,
        (run) => run.figures?.[plotted],
        runs.filter((run) => run.method === method),
      ),
    })),
  ];
  const bars = groups.flatMap(({ points, label }, n): Points[] => {
    if (points.length < 2) return [];
    const mean = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
    return [
      {
        label: `mean of ${label}`,
        line: true,
        points: [
          [n - 0.33, mean],
          [n + 0.33, mean],
        ],
      },
    ];
  });
  const clouds = methods.map(({ name: method }, n): Points => ({
    label: method,
    colour: n,
    points: valuesOf(method, 'secondsRegistration', plotted).filter((point): point is [number, number] => !point.includes(null)),
  }));
  const slowest = Math.max(...clouds.flatMap(({ points }) => points.map(([x]) => x)));
  const made = section(
    'Pairs',
    element(
      'span',
      {},
      `A point a pair${old ? ', in grey before registration' : ''}; a bar is the mean. The first run of a method also compiles its kernels. `,
      ...methods.map(({ name }) => element('span', {}, named(name), ' \u2003')),
    ),
    div('charts', strips, times),
  );
  return [
    [made],
    () => {
      scatter(
        strips,
        {
          title: `${name} by method`,
          x: { label: '', range: [-0.6, groups.length - 0.4], names: groups.map(({ label }) => label) },
          y: name,
        },
        [...groups, ...bars],
      );
      scatter(
        times,
        { title: `${name} against time`, x: { label: 'seconds of the registration alone', range: [0, slowest * 1.08] }, y: name },
        clouds,
      );
    },
  ];
}

function every(): HTMLElement {
  const rows = runs.map(({ pair, method, error, region, figures: own, levels = [] }) => [
    pair,
    named(method),
    error === undefined ? verdicts(levels.map(({ result }) => result)) : element('span', { className: 'warning' }, 'failed'),
    ...shown.map((name) => fixed(own?.[name], figures[name].digits)),
    region ?? '–',
    levels.map(({ iterations }) => iterations).join(', '),
    levels.map(({ residual }) => fixed(residual, 4)).join(', '),
  ]);
  return section(
    'Runs',
    'Evaluations, residuals (RMS, in voxels of the level) and verdicts are by level, coarse to fine. Folds, NDV (non-diffeomorphic volume) and SDlogJ are of the region: the fixed mask, else the fixed labels, else the foreground. evaluation.csv has the Dice of each label.',
    div(
      'runs',
      table(['Pair', 'Method', 'Verdicts', ...shown.map((name) => figures[name].title), 'Region', 'Evaluations', 'Residuals'], rows),
    ),
  );
}

/** One word where all levels have the same. That iterations ran out is how methods without a fixed point end. */
function verdicts(results: string[]): HTMLElement {
  const odd = results.some((result) => !['converged', 'max-iterations'].includes(result));
  return element('span', { className: odd ? 'warning' : '' }, new Set(results).size === 1 ? results[0] : results.join(', '));
}

const [charts, draw] = plots();
document.body.append(
  element(
    'main',
    {},
    head(),
    summary(),
    ...charts,
    every(),
    section(
      'Run',
      'evaluation.json holds all metrics of every run.',
      div(
        'blocks',
        ...methods.map(({ name, options }) => div('block', element('h3', {}, name), listing(options))),
        div('block', element('h3', {}, 'Data'), listing(data)),
      ),
      element('h3', {}, 'Command'),
      element('pre', {}, command),
    ),
    credits(licence),
  ),
);
draw();
document.body.dataset.state = 'ready';
