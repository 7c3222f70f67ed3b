// Line charts as SVG text, drawn by ECharts without a browser.
import { init, use } from 'echarts/core';
import { LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, MarkLineComponent, TitleComponent } from 'echarts/components';
import { SVGRenderer } from 'echarts/renderers';
import { COLOURS } from '../src/cli/report/plot.ts';

use([LineChart, GridComponent, LegendComponent, MarkLineComponent, TitleComponent, SVGRenderer]);

export interface Axis {
  label: string;
  /** Powers of ten between the ticks, or of another base. */
  log?: 2 | 10;
  min?: number;
  max?: number;
}

export interface Series {
  /** Series of one label share a place in the legend. */
  label: string;
  points: readonly (readonly [x: number, y: number])[];
  /** Index of a colour; default: that of the series' place. */
  colour?: number;
  /** A line with a point at each value, the line alone, a dashed or dotted one, or points alone. Default: 'curve'. */
  as?: 'curve' | 'line' | 'dashed' | 'dotted' | 'points';
}

export interface Chart {
  title: string;
  x: Axis;
  y: Axis;
  series: readonly Series[];
  /** A line across (`y`) or upright (`x`), with its name. */
  marks?: readonly ({ label: string } & ({ x: number } | { y: number }))[];
  width?: number;
  height?: number;
}

const axis = ({ label, log, min, max }: Axis, nameGap: number) => ({
  type: log ? ('log' as const) : ('value' as const),
  ...(log && { logBase: log }),
  ...(min !== undefined && { min }),
  ...(max !== undefined && { max }),
  scale: true,
  name: label,
  nameLocation: 'middle' as const,
  nameGap,
  nameTextStyle: { color: '#333' },
  // Powers of ten come with rounding errors.
  axisLabel: { color: '#555', ...(log && { formatter: (value: number) => String(Number(value.toPrecision(6))) }) },
  axisLine: { show: true, lineStyle: { color: '#999' } },
  splitLine: { lineStyle: { color: '#e8e8e8' } },
});

const DASHES: Partial<Record<NonNullable<Series['as']>, number[]>> = { dashed: [5, 4], dotted: [1, 3] };

/** The chart as the text of an SVG file; the legend lies below it. */
export function chart({ title, x, y, series, marks = [], width = 720, height = 440 }: Chart): string {
  const labels = [...new Set(series.map(({ label }) => label))];
  const drawn = init(null, null, { renderer: 'svg', ssr: true, width, height });
  drawn.setOption({
    animation: false,
    backgroundColor: '#fff',
    textStyle: { fontFamily: 'system-ui, sans-serif' },
    color: COLOURS,
    title: { text: title, left: 'center', textStyle: { fontSize: 15 } },
    // keys long enough, and their points small enough, for dashes to show
    legend: { bottom: 0, type: 'plain', itemGap: 20, itemWidth: 33, itemHeight: 8, data: labels },
    grid: { left: 70, right: 30, top: 42, bottom: 52 + 32 * Math.ceil(labels.reduce((n, label) => n + label.length + 8, 0) / 100) },
    xAxis: axis(x, 28),
    yAxis: axis(y, 48),
    series: series.map(({ label, points, colour, as = 'curve' }, i) => ({
      type: 'line' as const,
      name: label,
      data: points.map(([x, y]) => [x, y]),
      showSymbol: as === 'curve' || as === 'points',
      symbol: 'circle',
      symbolSize: 6,
      lineStyle: { width: as === 'points' ? 0 : 2, type: DASHES[as] ?? ('solid' as const) },
      ...(colour !== undefined && { color: COLOURS[colour % COLOURS.length] }),
      ...(i === 0 &&
        marks.length && {
          markLine: {
            symbol: 'none',
            precision: 9,
            lineStyle: { color: '#777', type: 'dotted' as const, width: 1.5 },
            data: marks.map((mark) => ({
              ...('x' in mark ? { xAxis: mark.x } : { yAxis: mark.y }),
              label: { formatter: mark.label, position: 'insideEndTop' as const, color: '#555' },
            })),
          },
        }),
    })),
  });
  const text = drawn.renderToSVGString();
  drawn.dispose();
  return `${text}\n`;
}
