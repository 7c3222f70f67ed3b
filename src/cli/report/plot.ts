// One chart: curves over a common axis, on a ground that may be marked; drawn by uPlot.
import uPlot from 'uplot';
import { axisOfZeros } from './series.ts';

/** Okabe and Ito's without yellow, and four dark ones; no two are closer to the colour-blind than two of the former. */
export const COLOURS = [
  ...['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'],
  ...['#a50026', '#332288', '#44546a', '#000000'],
];
export const SIZE = { width: 604, height: 280 };

/** How all axes look. */
export const axis = {
  stroke: '#555',
  grid: { stroke: '#e8e8e8', width: 1 },
  ticks: { stroke: '#ccc', width: 1 },
  font: '12px system-ui, sans-serif',
  labelFont: '12px system-ui, sans-serif',
};

/** A value for each x, or null where there is none. */
export type Row = (number | null)[];

export interface Curve {
  label: string;
  colour: string;
  values: Row;
  /** Points joined by lines, which break where a value is missing, or (`joined`) go on to the next; a line alone; points alone, faint. */
  as: 'curve' | 'joined' | 'line' | 'dashed' | 'dots';
}

export interface Chart {
  title: string;
  /** Along x: its name, its values, ascending, and the ends of the axis. */
  x: { label: string; values: number[]; range: [number, number] };
  log?: boolean;
  curves: Curve[];
  /** Behind the curves: stretches of x, and lines across. */
  bands?: { from: number; to: number; colour: string }[];
  marks?: { at: number; colour: string }[];
}

/** Steps between the ticks of an axis that counts. */
const WHOLE = Array.from({ length: 8 }, (_, power) => [1, 2, 5].map((n) => n * 10 ** power)).flat();

/** A tick's number; uPlot gives null for those that are not to be written. */
const written = (tick: number | null) =>
  tick === null ? '' : tick && Math.abs(tick) < 1e-3 ? tick.toExponential() : String(Number(tick.toPrecision(4)));

const style = ({ colour, as, values }: Curve): Partial<uPlot.Series> =>
  ({
    curve: { width: 1.6, points: { show: true, size: 4, fill: colour } },
    joined: { width: 1.6, points: { show: true, size: 6, fill: colour }, spanGaps: true },
    line: { width: 1.6, points: { show: false } },
    dashed: { width: 1, dash: [5, 4], points: { show: false } },
    dots: {
      paths: () => null,
      points: { show: true, width: 0, ...(values.length > 200 ? { size: 3, fill: `${colour}55` } : { size: 5, fill: `${colour}90` }) },
    },
  })[as];

/** Draws the chart into an element that is on the page. */
export function plot(into: HTMLElement, { title, x, log, curves, bands = [], marks = [] }: Chart): void {
  const ground = (u: uPlot) => {
    const { ctx, bbox } = u;
    const at = (value: number) => u.valToPos(Math.min(Math.max(value, x.range[0]), x.range[1]), 'x', true);
    ctx.save();
    for (const { from, to, colour } of bands) {
      ctx.fillStyle = colour;
      ctx.fillRect(at(from), bbox.top, at(to) - at(from), bbox.height);
    }
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const mark of marks) {
      ctx.strokeStyle = mark.colour;
      ctx.beginPath();
      ctx.moveTo(at(mark.at), bbox.top);
      ctx.lineTo(at(mark.at), bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };
  const range = axisOfZeros(curves.map(({ values }) => values));
  new uPlot(
    {
      ...SIZE,
      title,
      scales: { x: { time: false, range: x.range }, y: log ? { distr: 3 } : range ? { range } : {} },
      axes: [
        { ...axis, label: x.label, labelSize: 20, size: 34, incrs: WHOLE },
        {
          ...axis,
          size: 62,
          values: (_, ticks) => ticks.map(written),
        },
      ],
      series: [{ label: x.label }, ...curves.map((curve) => ({ label: curve.label, stroke: curve.colour, ...style(curve) }))],
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      hooks: { drawClear: [ground] },
    },
    [x.values, ...curves.map(({ values }) => values)] as uPlot.AlignedData,
    into,
  );
}
