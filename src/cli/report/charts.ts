// Convergence: residual and similarity against the evaluations of the update, one curve a level, coarse to fine.
import uPlot from 'uplot';
import type { Content } from './content.ts';
import { div, element, fixed, section, short, table } from './dom.ts';

export const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
/** How all axes look. */
export const axis = {
  stroke: '#555',
  grid: { stroke: '#e8e8e8', width: 1 },
  ticks: { stroke: '#ccc', width: 1 },
  font: '12px system-ui, sans-serif',
  labelFont: '12px system-ui, sans-serif',
};
export const SIZE = { width: 604, height: 280 };

type Levels = Content['report']['solver']['levels'];
type Data = (number | null)[][];

/** The section, and what draws the charts in it once it is on the page. */
export function convergence({ solver: { method, levels }, options }: Content['report']): [HTMLElement, () => void] {
  const residuals = div('chart'),
    similarities = div('chart');
  const rows = levels.map((level, n) => [
    legend(n, `1/${level.factor}`),
    level.size.join(' × '),
    element('span', { className: level.result === 'converged' ? '' : 'warning' }, level.result),
    `${level.iterations} of ${options.iterations[n]}`,
    short(level.residual),
    short(options.tolerance[n]),
    fixed(level.similarities.at(-1), 4),
  ]);
  const made = section(
    'Convergence',
    `Method: ${method}. A level ends when the RMS of f(u) − u, in its own voxels, falls below its tolerance (dashed); the field with the smallest residual is kept.`,
    table(['Level', 'Grid (i, j, k)', 'Verdict', 'Evaluations', 'Residual (voxel)', 'Tolerance (voxel)', 'LNCC at the end'], rows),
    div('charts', residuals, similarities),
  );
  return [
    made,
    () => {
      const tolerances = levels.map((level, n) => level.residuals.map(() => options.tolerance[n]! || null));
      plot(
        residuals,
        'Residual, RMS (voxel)',
        true,
        levels.map(({ factor }) => `1/${factor}`),
        spread(
          levels,
          levels.map((level) => level.residuals),
        ),
        spread(levels, tolerances),
      );
      plot(
        similarities,
        'Similarity (mean LNCC)',
        false,
        levels.map(({ factor }) => `1/${factor}`),
        spread(
          levels,
          levels.map((level) => level.similarities),
        ),
      );
    },
  ];
}

/** Values of each level at their evaluations, which are counted over all levels; null elsewhere. */
function spread(levels: Levels, values: (number | null)[][]): Data {
  const total = levels.reduce((sum, { residuals }) => sum + residuals.length, 0);
  let from = 0;
  return levels.map(({ residuals }, n) => {
    const row = Array<number | null>(total).fill(null);
    values[n]!.forEach((value, i) => {
      row[from + i] = value;
    });
    from += residuals.length;
    return row;
  });
}

function plot(at: HTMLElement, title: string, log: boolean, names: string[], curves: Data, dashed: Data = []): void {
  const stroke = (n: number) => COLOURS[n % COLOURS.length];
  const count = curves[0]?.length ?? 0;
  new uPlot(
    {
      ...SIZE,
      title,
      scales: { x: { time: false, range: [0, count + 1] }, y: log ? { distr: 3 } : {} },
      axes: [
        { ...axis, label: 'evaluations', labelSize: 20, size: 34 },
        { ...axis, size: 62 },
      ],
      series: [
        { label: 'evaluation' },
        ...names.map((label, n) => ({ label, stroke: stroke(n), width: 1.6, points: { show: true, size: 4, fill: stroke(n) } })),
        ...dashed.map((_, n) => ({ label: '', stroke: stroke(n), width: 1, dash: [5, 4], points: { show: false } })),
      ],
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
    },
    [Array.from({ length: count }, (_, n) => n + 1), ...curves, ...dashed] as uPlot.AlignedData,
    at,
  );
}

/** A text beside the colour of curve or points n. */
export function legend(n: number, text: string): HTMLElement {
  const swatch = element('i', { className: 'swatch' });
  swatch.style.background = COLOURS[n % COLOURS.length];
  return element('span', {}, swatch, ` ${text}`);
}

/** Who draws the charts, and under which licence. */
export function footer(licence: string): HTMLElement {
  const details = element('details', {}, element('summary', {}, 'Licence of uPlot'), element('pre', {}, licence));
  return element('footer', {}, 'Charts are drawn by uPlot. ', details);
}
