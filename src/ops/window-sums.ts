// Sums over LNCC's windows, and where they lie. On a CPU axis by axis in one buffer; on a GPU W and H in one pass, which puts far more
// invocations to work, and D in the buffer as well.
import gradientCpuSource from '../../kernels/lncc_gradient_cpu.wgsl';
import gradientGpuSource from '../../kernels/lncc_gradient_gpu.wgsl';
import inPlaceSource from '../../kernels/window_sum_in_place.wgsl';
import productsCpuSource from '../../kernels/lncc_products_cpu.wgsl';
import productsGpuSource from '../../kernels/lncc_products_gpu.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Processor, type Shape, type Tensor } from '../graph/graph.ts';
import { lines, MOST_GROUPS, RUN, volume } from './launch.ts';

const productsCpuKernel = kernel('lncc_products_cpu', productsCpuSource);
const productsGpuKernel = kernel('lncc_products_gpu', productsGpuSource);
const inPlaceKernel = kernel('window_sum_in_place', inPlaceSource);
const gradientCpuKernel = kernel('lncc_gradient_cpu', gradientCpuSource);
const gradientGpuKernel = kernel('lncc_gradient_gpu', gradientGpuSource);

/** Rows that a workgroup of a GPU's pass over planes walks, and those whose values it loads at a time: kernels/lib/plane_sums.wgsl. */
const PLANE_RUN = 16;
const PLANE_AHEAD = 4;
/** Its columns; those within half a window of either end only serve the others. */
const PLANE_WIDTHS = [64, 96, 128, 160, 192, 224, 256];
/** Voxels of a window along W that such a pass sums, at most. */
const WIDEST = 192;
/** Voxels of a run along D whose values an invocation of a GPU loads at a time: kernels/lib/walk_gpu.wgsl. */
const AHEAD = 8;
/** What every WebGPU device has of workgroup memory, in bytes, and the most invocations of a workgroup. */
const WORKGROUP = { bytes: 16384, invocations: 256 };

/** How LNCC is launched, as `deqreg info` prints it: [what, how]. */
export const windowTiling = (processor: Processor): [string, string] => [
  'lncc',
  processor === 'gpu'
    ? `windows along W and H in one pass, ${PLANE_RUN} rows a workgroup; along D in place, runs of ${RUN} voxels, ${AHEAD} loaded ahead`
    : 'windows axis by axis, in place, three fields beside each other',
];

/** Radii do not reach beyond the volume, where they would only take room. */
function sizesOf(shape: Shape, window: readonly number[]) {
  const { n, d, h, w } = volume('lncc', 'image', shape, 1);
  const [radius_w, radius_h, radius_d] = [w, h, d].map((size, axis) => Math.min((window[axis] - 1) / 2, size - 1)) as [
    number,
    number,
    number,
  ];
  return { lines: n * h * w, w, h, d, radius_w, radius_h, radius_d };
}
type Sizes = ReturnType<typeof sizesOf>;

/** Three fields of an image in every voxel, with room for half a window on every axis: kernels/lib/fields.wgsl. */
export function fields(shape: Shape, window: readonly number[]): Shape {
  const { w, h, d, radius_w, radius_h, radius_d } = sizesOf(shape, window);
  return [shape[0], d + radius_d, h + radius_h, w + radius_w, 3];
}

/** Windows too wide for a workgroup, and planes too large for a launch, are summed as on a CPU. */
const wayOf = (processor: Processor, sizes: Sizes): Processor =>
  processor === 'gpu' && 2 * sizes.radius_w < WIDEST && gpuWalk(sizes.lines, sizes.d, sizes.radius_d) ? 'gpu' : 'cpu';

/** Geometry that the kernels along D share: lines over the (n, h, w) columns, runs along d. */
export function columns(processor: Processor, shape: Shape, window: readonly number[]) {
  const sizes = sizesOf(shape, window);
  const { constants, groups, runs } = lines(sizes.lines, sizes.d);
  return { constants: { ...constants, ...walks(wayOf(processor, sizes), RUN, sizes.radius_d, false) }, groups, params: { ...sizes, runs } };
}

/** The same for kernels that write over their sums; `partials`: invocations that walk. */
export function wholeColumns(processor: Processor, shape: Shape, window: readonly number[]) {
  const params = sizesOf(shape, window);
  const { runs, ...over } = walksInPlace(wayOf(processor, params), params.lines, params.d, params.radius_d);
  return { ...over, params, partials: params.lines * runs };
}

const walks = (processor: Processor, run: number, radius: number, overwrites: boolean) => ({
  RUN: run,
  PROCESSOR: processor, // kernels/lib/fields_cpu.wgsl or fields_gpu.wgsl, walk_cpu.wgsl or walk_gpu.wgsl
  OVERWRITES: overwrites,
  ...(processor === 'gpu' ? { AHEAD, REACH: 2 * radius } : {}),
});

/**
 * How a GPU walks in place along `count` lines of n voxels: `x` of them side by side in a workgroup, each in runs; none where a workgroup
 * or a launch would not hold it.
 */
function gpuWalk(count: number, n: number, radius: number): { x: number; run: number; runs: number } | undefined {
  const fits = (x: number, runs: number) => x * runs <= WORKGROUP.invocations && 4 * 3 * 2 * radius * x * runs <= WORKGROUP.bytes;
  // Side by side 32 lines, which are read in whole pieces; fewer only where runs would become longer than twice as long.
  const longer = [1, 1.5, 2].map((factor) => factor * RUN).find((run) => fits(32, Math.ceil(n / run)));
  let run = longer ?? RUN;
  while (run < n && !fits(8, Math.ceil(n / run))) run *= 2;
  const runs = Math.ceil(n / run);
  const x = [32, 16, 8, 4, 2, 1].find((lines) => fits(lines, runs));
  return x && Math.ceil(count / x) <= MOST_GROUPS ? { x, run, runs } : undefined;
}

/**
 * Walks along lines of voxels that write over what they read. On a CPU an invocation walks a whole line; on a GPU a run of one, all runs of
 * a line in one workgroup, which must hold their ends.
 */
function walksInPlace(processor: Processor, count: number, n: number, radius: number) {
  const walk = processor === 'gpu' ? gpuWalk(count, n, radius) : undefined;
  if (!walk) {
    const { constants, groups } = lines(count, n, n);
    return { constants: { ...constants, ...walks('cpu', RUN, radius, true) }, groups, runs: 1 };
  }
  const { x, run, runs } = walk;
  return {
    constants: { WG: x * runs, WG_X: x, WG_Y: runs, ...walks('gpu', run, radius, true) },
    groups: [Math.ceil(count / x), 1, 1] as [number, number, number],
    runs,
  };
}

/** Sums of (b, b², a·b) over the window along W and H into the fields t; they stay shifted along D, on a CPU along W too. */
export function products(processor: Processor, a: Tensor, b: Tensor, window: readonly number[], t: Tensor): Dispatch[] {
  const sizes = sizesOf(a.shape, window);
  if (wayOf(processor, sizes) === 'gpu') {
    const { lines, w, h, d, radius_d } = sizes;
    return [{ kernel: productsGpuKernel, ...planeRuns(sizes), bindings: { a, b, t }, params: { lines, w, h, d, radius_d } }];
  }
  const rows = numel(a.shape) / sizes.w;
  const { constants, groups, runs } = lines(rows, sizes.w);
  const pass: Dispatch = {
    kernel: productsCpuKernel,
    constants: { ...constants, RUN, PROCESSOR: 'cpu' },
    groups,
    bindings: { a, b, t },
    params: { ...sizes, lines: rows, runs },
  };
  return [pass, sumsAlongH(t, sizes, true)];
}

/** The first part of the sums of the terms that a kernel along D has left in t; `gatherTerms` does the rest. */
export function termSums(processor: Processor, t: Tensor, shape: Shape, window: readonly number[]): Dispatch[] {
  const sizes = sizesOf(shape, window);
  return wayOf(processor, sizes) === 'gpu' ? [sumsAlongD(t, sizes)] : [sumsAlongW(t, sizes), sumsAlongH(t, sizes, false)];
}

/**
 * From the sums of the terms to the gradient for b: their sums along the axes that are left, weighted by the voxel's values. With `force`
 * added to db.
 */
export function gatherTerms(
  processor: Processor,
  t: Tensor,
  window: readonly number[],
  images: Record<'a' | 'b' | 'dy' | 'db', Tensor>,
  force: boolean,
): Dispatch {
  const { shape } = images.b;
  const sizes = sizesOf(shape, window);
  const onCpu = () => {
    const { constants, groups, runs } = lines(sizes.lines, sizes.d);
    return { kernel: gradientCpuKernel, constants: { ...constants, RUN, PROCESSOR: 'cpu' }, groups, params: { ...sizes, runs } };
  };
  const over = wayOf(processor, sizes) === 'gpu' ? { kernel: gradientGpuKernel, ...planeRuns(sizes) } : onCpu();
  return {
    ...over,
    constants: { ...over.constants, FORCE: force },
    params: { ...over.params, scale: 1 / numel(shape) },
    bindings: { t, ...images },
  };
}

/** A GPU's passes over planes: a workgroup makes a run of rows in as many columns as it has invocations, without those on either side. */
function planeRuns(sizes: Sizes) {
  const { radius_w, radius_h, w, h, d } = sizes;
  const tiles = (wg: number) => Math.ceil(w / (wg - 2 * radius_w));
  const wg = PLANE_WIDTHS.filter((width) => width > 2 * radius_w).reduce((best, width) =>
    tiles(width) * width < tiles(best) * best ? width : best,
  );
  return {
    constants: { WG: wg, PROCESSOR: 'gpu', RUN: PLANE_RUN, RADIUS_W: radius_w, RADIUS_H: radius_h, AHEAD: PLANE_AHEAD },
    groups: [tiles(wg), Math.ceil(h / PLANE_RUN), (sizes.lines / (w * h)) * d] as [number, number, number],
    params: sizes,
  };
}

/** Sums along H in place: of what is shifted, along W and D too, which is not along H then; or the way back, of what is not. */
function sumsAlongH(t: Tensor, sizes: Sizes, shifted: boolean): Dispatch {
  const { w, h, radius_w, radius_h, radius_d } = sizes;
  const row = w + radius_w;
  const first = shifted ? radius_d * row * (h + radius_h) + radius_w : 0;
  return inPlace('cpu', t, sizes, { n: h, radius: radius_h, step: row, across: w, apart: 1, first, depth: 1 }, !shifted);
}

/** Sums along W in place, of what is shifted along W only. */
function sumsAlongW(t: Tensor, sizes: Sizes): Dispatch {
  const { w, h, radius_w } = sizes;
  return inPlace('cpu', t, sizes, { n: w, radius: radius_w, step: 1, across: h, apart: w + radius_w, first: 0, depth: 1 }, false);
}

/** A GPU's sums along D in place, of what is not shifted; the sums are. */
function sumsAlongD(t: Tensor, sizes: Sizes): Dispatch {
  const { w, h, d, radius_d } = sizes;
  return inPlace('gpu', t, sizes, { n: d, radius: radius_d, step: w * h, across: w * h, apart: 1, first: 0, depth: d }, true);
}

function inPlace(
  processor: Processor,
  t: Tensor,
  sizes: Sizes,
  line: { n: number; radius: number } & Record<string, number>,
  back: boolean,
): Dispatch {
  const count = (sizes.lines * sizes.d) / line.n;
  const { constants, groups } = walksInPlace(processor, count, line.n, line.radius);
  return {
    kernel: inPlaceKernel,
    constants: { ...constants, BACK: back },
    groups,
    bindings: { t },
    params: { ...sizes, ...line, lines: count },
  };
}
