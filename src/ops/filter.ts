// Linear filters along the axes: resize, Gaussian smoothing, windowed sums. Each is a chain of one-axis passes; the adjoint
// of a pass is the same kernel with TRANSPOSE (or itself), so gradients need no rule of their own for the chain.
import gaussianSource from '../../kernels/gaussian.wgsl';
import gaussianRowsSource from '../../kernels/gaussian_rows.wgsl';
import resizeSource from '../../kernels/resize.wgsl';
import windowSumSource from '../../kernels/window_sum.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { numel, oneDtype, type Op, type Processor, type Tensor, trace } from '../graph/graph.ts';
import { along, lines, perVoxel, RUN, volume } from './launch.ts';

const gaussianKernel = kernel('gaussian', gaussianSource);
const gaussianRowsKernel = kernel('gaussian_rows', gaussianRowsSource);
const resizeKernel = kernel('resize', resizeSource);
const windowSumKernel = kernel('window_sum', windowSumSource);

/** A value for each spatial axis (w, h, d), or one for all. */
export type PerAxis = number | readonly [number, number, number];
export function perAxis(value: PerAxis): readonly [number, number, number] {
  if (typeof value === 'number') return [value, value, value];
  if (value.length !== 3) throw new Error(`a value for each axis is three, (w, h, d), or one number for all; got [${value}]`);
  return value;
}

interface ResizeAttrs {
  axis: number;
  length: number;
  transpose: boolean;
}

/**
 * Voxels that one output may read, at most. Forward: two where the axis grows (s ≤ 1), else those of an extent of s that starts anywhere;
 * the adjoint: outputs within a voxel, or at most two extents and one on either side against rounding.
 */
const resizeTaps = (s: number, transpose: boolean): number =>
  s <= 1 ? (transpose ? Math.ceil(2 / s) + 1 : 2) : transpose ? 4 : Math.ceil(s) + 1;

const resizeOp: Op<ResizeAttrs> = {
  name: 'resize',
  dtype: oneDtype,
  recompute: true,
  shape([x], { axis, length }) {
    volume('resize', 'x', x);
    if (!Number.isInteger(length) || length < 1) throw new Error(`resize: a size must be a whole number above 0, got ${length}`);
    return [x.map((n, i) => (i === 4 - axis ? length : n))];
  },
  launch({ inputs: [x], outputs: [y], attrs: { axis, transpose }, processor }) {
    const { n, c, d, h, w } = volume('resize', 'y', y.shape);
    const [from, to] = [along(x.shape, axis).n, along(y.shape, axis).n];
    const [n_in, n_out] = transpose ? [to, from] : [from, to];
    const lanes = axis > 0 && w % 4 === 0 ? 4 : 1;
    const { constants, groups } = perVoxel(w / lanes, h, n * c * d, processor);
    return [
      {
        kernel: resizeKernel,
        constants: {
          ...constants,
          LANES: lanes,
          AXIS: axis,
          TAPS: resizeTaps(n_in / n_out, transpose),
          TRANSPOSE: transpose,
        },
        groups,
        bindings: { x, y },
        params: { w, h, d, n_in, n_out },
      },
    ];
  },
  vjp: ({ inputs: [x], cotangents: [dy], attrs: { axis, transpose } }) => [
    trace(resizeOp, [dy!], { axis, length: along(x.shape, axis).n, transpose: !transpose }),
  ],
};

/**
 * x [N, C, D, H, W] on another grid over the same field of view: size is [D, H, W]. Along each axis linear where it grows
 * (half-voxel offsets, as interpolate(align_corners=False)), against aliasing the mean over each new voxel where it shrinks.
 */
export function resize(x: Tensor, size: readonly [number, number, number]): Tensor {
  // Shrinking axes first, enlarging ones last: the fewest voxels in between.
  return [0, 1, 2]
    .map((axis) => ({ axis, length: size[2 - axis], ratio: size[2 - axis] / along(x.shape, axis).n }))
    .filter(({ ratio }) => ratio !== 1)
    .sort((a, b) => a.ratio - b.ratio)
    .reduce((y, { axis, length }) => trace(resizeOp, [y], { axis, length, transpose: false }), x);
}

interface GaussianAttrs {
  axis: number;
  sigma: number;
  transpose: boolean;
}
/** Outputs that one invocation of the Gaussian makes from registers, along H and D. */
const GAUSSIAN_RUN = 4;
/** The same along W. On a GPU one, for neighbours to make neighbours. */
const GAUSSIAN_RUN_OF_ROWS: Record<Processor, number> = { cpu: 8, gpu: 1 };

/** A kernel keeps this many neighbours to either side in registers: WGSL promises 8 KiB of them. */
const MOST_RADIUS = 250;
/** Of the filter, in voxels: what lies beyond all of the axis counts nowhere. */
const radiusOf = (sigma: number, n: number): number => Math.min(Math.ceil(3 * sigma), n - 1);

const gaussianOp: Op<GaussianAttrs> = {
  name: 'gaussian',
  shape([x], { axis, sigma }) {
    volume('gaussian', 'x', x);
    if (radiusOf(sigma, along(x, axis).n) > MOST_RADIUS)
      throw new Error(
        `gaussian: sigma ${sigma} along an axis of ${along(x, axis).n} voxels; at most ${Math.floor(MOST_RADIUS / 3)} voxels there: resize first`,
      );
    return [x];
  },
  launch({ inputs: [x], outputs: [y], attrs: { axis, sigma, transpose }, processor }) {
    const { n, inner } = along(x.shape, axis);
    const sideways = processor === 'gpu' && axis === 0;
    const run = axis === 0 ? GAUSSIAN_RUN_OF_ROWS[processor] : GAUSSIAN_RUN;
    const radius = radiusOf(sigma, n);
    const half = Array.from({ length: radius + 1 }, (_, k) => Math.exp(-(k ** 2) / (2 * sigma * sigma)));
    const total = 2 * half.reduce((a, b) => a + b) - half[0];
    const weights = half.map((weight) => weight / total);
    const filter = { RADIUS: radius, TRANSPOSE: transpose };
    if (sideways && n % 4 === 0) {
      const [items, across, reach] = [n / 4, along(x.shape, 1).n, Math.ceil(radius / 4)];
      const { constants, groups } = perVoxel(items, across, numel(x.shape) / (n * across), processor);
      return [
        {
          kernel: gaussianRowsKernel,
          groups,
          constants: { ...constants, ...filter, ITEMS: 2 * reach + 1, TAPS: 2 * radius + 1, FIRST_TAP: 4 * reach - radius },
          bindings: { x, y },
          params: { weights, n, items, across },
        },
      ];
    }
    const lanes = inner % 4 === 0 ? 4 : 1;
    const step = inner / lanes;
    // Planes of lines side by side: along W the rows of a (w, h) plane, else all columns of a volume or plane.
    const [across, apart] = axis === 0 ? [along(x.shape, 1).n, n] : [step, 1];
    const [plane, runs] = [across * n, Math.ceil(n / run)];
    const [width, height] = sideways ? [runs, across] : [across, runs];
    const { constants, groups } = perVoxel(width, height, numel(x.shape) / lanes / plane, processor);
    return [
      {
        kernel: gaussianKernel,
        groups,
        bindings: { x, y },
        params: { weights, n, step, runs, across, apart, plane },
        constants: {
          ...constants,
          LANES: lanes,
          RUN: run,
          SIDEWAYS: sideways,
          ...filter,
        },
      },
    ];
  },
  vjp: ({ cotangents: [dy], attrs }) => [trace(gaussianOp, [dy!], { ...attrs, transpose: !attrs.transpose })],
};

/** Separable Gaussian smoothing of [N, C, D, H, W], σ in voxels, cut at 3σ, normalised over the voxels inside. σ = 0 leaves an axis. */
export function gaussian(x: Tensor, sigma: PerAxis): Tensor {
  const sigmas = perAxis(sigma);
  if (!sigmas.every((s) => Number.isFinite(s) && s >= 0)) throw new Error(`gaussian: sigma must be ≥ 0, got ${sigmas}`);
  return sigmas.reduce((y, s, axis) => (s > 0 ? trace(gaussianOp, [y], { axis, sigma: s, transpose: false }) : y), x);
}

interface WindowAttrs {
  axis: number;
  window: number;
}

const windowSumOp: Op<WindowAttrs> = {
  name: 'windowSum',
  shape([x], { window }) {
    volume('windowSum', 'x', x);
    checkWindow('windowSum', window);
    return [x];
  },
  launch({ inputs: [x], outputs: [y], attrs: { axis, window } }) {
    const { n, inner } = along(x.shape, axis);
    const count = numel(x.shape) / n;
    const { constants, groups, runs } = lines(count, n);
    return [
      {
        kernel: windowSumKernel,
        constants: { ...constants, RUN },
        groups,
        bindings: { x, y },
        params: { lines: count, n, inner, runs, radius: (window - 1) / 2 },
      },
    ];
  },
  vjp: ({ cotangents: [dy], attrs }) => [trace(windowSumOp, [dy!], attrs)],
};

export function checkWindow(op: string, window: number): void {
  if (!Number.isInteger(window) || window < 1 || window % 2 === 0)
    throw new Error(`${op}: a window must be an odd whole number, got ${window}`);
}

/**
 * Sums over a box of `window` voxels around each voxel, those outside the volume counting 0. Costs the same for every window: a running
 * sum, begun anew every 32 voxels, so that within that reach a value far larger than the others costs them digits.
 */
export function windowSum(x: Tensor, window: PerAxis): Tensor {
  return perAxis(window).reduce((y, w, axis) => (w === 1 ? y : trace(windowSumOp, [y], { axis, window: w })), x);
}
