// Points in the plane, a colour a group: strips of a figure by method, and one figure against another.
import uPlot from 'uplot';
import { axis, COLOURS, SIZE } from './plot.ts';

export interface Points {
  label: string;
  /** The colour's number; without one, grey. */
  colour?: number;
  points: readonly (readonly [x: number, y: number])[];
  /** Joined by a line instead of drawn as points. */
  line?: boolean;
}

export interface ScatterAxes {
  title: string;
  x: { label: string; range: [number, number]; names?: readonly string[] };
  y: string;
}

const GREY = '#b5b5b5';

export function scatter(at: HTMLElement, { title, x, y }: ScatterAxes, groups: readonly Points[]): void {
  const all = groups.flatMap(({ points }, group) => points.map(([left, up]) => ({ left, up, group }))).sort((a, b) => a.left - b.left);
  const colour = ({ colour }: Points) => (colour === undefined ? GREY : COLOURS[colour % COLOURS.length]);
  const series = groups.map((group): uPlot.Series =>
    group.line
      ? { label: group.label, stroke: '#222', width: 2, spanGaps: true, points: { show: false } }
      : {
          label: group.label,
          stroke: colour(group),
          paths: () => null,
          points: { show: true, size: 7, width: 1, stroke: colour(group), fill: `${colour(group)}99` },
        },
  );
  new uPlot(
    {
      ...SIZE,
      title,
      scales: { x: { time: false, range: x.range }, y: {} },
      axes: [
        {
          ...axis,
          label: x.label,
          labelSize: 20,
          size: 34,
          ...(x.names && {
            grid: { show: false },
            splits: () => x.names!.map((_, n) => n),
            values: () => [...x.names!],
          }),
        },
        { ...axis, label: y, labelSize: 20, size: 58, values: (_, ticks) => ticks.map((tick) => String(Number(tick.toPrecision(6)))) },
      ],
      series: [{}, ...series],
      legend: { show: false },
      cursor: { show: false },
    },
    [all.map(({ left }) => left), ...groups.map((_, n) => all.map(({ up, group }) => (group === n ? up : null)))] as uPlot.AlignedData,
    at,
  );
}
