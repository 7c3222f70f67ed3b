// Image similarities: local normalized cross-correlation (LNCC), global NCC, mean squared error, and their gradients.
import statisticsSource from '../../kernels/local_statistics.wgsl';
import termsSource from '../../kernels/lncc_terms.wgsl';
import sampleMeanSource from '../../kernels/sample_mean.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Op, sameShape, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { checkWindow, type PerAxis, perAxis } from './filter.ts';
import { SUMMING, volume } from './launch.ts';
import { div, mul, scale, sqrt, square, sub, subtractScalar } from './pointwise.ts';
import { mean, reduceTo } from './reduce.ts';
import { columns, fields, gatherTerms, products, termSums, wholeColumns } from './window-sums.ts';

const sampleMeanKernel = kernel('sample_mean', sampleMeanSource);
const statisticsKernel = kernel('local_statistics', statisticsSource);
const termsKernel = kernel('lncc_terms', termsSource);

const gcd = (a: number, b: number): number => (b ? gcd(b, a % b) : a);

const centreOp: Op<object> = {
  name: 'centre',
  shape: ([x]) => [x],
  launch(node): Dispatch[] {
    const {
      inputs: [x],
      outputs: [y],
    } = node;
    const count = numel(x.shape);
    // Near 1/4096 of the volume, and in step with neither rows nor slices: without a common divisor with their lengths.
    let stride = Math.max(1, Math.floor(count / 4096)) | 1;
    while (x.shape.slice(-2).some((n) => gcd(stride, n) > 1)) stride += 2;
    const level = node.workspace('level', [1]);
    return [
      {
        kernel: sampleMeanKernel,
        constants: { WG: SUMMING[node.processor] },
        groups: [1, 1, 1],
        bindings: { x, y: level },
        params: { count, stride },
      },
      subtractScalar(x, level, y),
    ];
  },
  vjp: ({ cotangents: [dy] }) => [dy], // of what does not depend on the constant, as LNCC
};

/**
 * x less a constant near its mean, one for all items of a batch. LNCC does not depend on it, but in f32 its variances do: E[x²] − E[x]² of
 * values 1000 ± 1 is rounding error. The gradient leaves the constant out.
 */
export const centre = (x: Tensor): Tensor => trace(centreOp, [x], {});

const statisticsOp: Op<{ window: readonly number[] }> = {
  name: 'localStatistics',
  shape([x], { window }) {
    const { n, d, h, w } = volume('localStatistics', 'image', x, 1);
    window.forEach((size) => checkWindow('localStatistics', size));
    return [[n, 2, d, h, w]];
  },
  launch(node) {
    const {
      inputs: [x],
      outputs: [y],
      attrs: { window },
    } = node;
    const t = node.workspace('planes', fields(x.shape, window));
    const over = columns(node.processor, x.shape, window);
    return [...products(node.processor, x, x, window, t), { kernel: statisticsKernel, ...over, bindings: { t, y } }];
  },
};

/** What LNCC needs to know of an image that does not change, the image centred: trace it once, before the loop. */
export interface Statistics {
  image: Tensor;
  statistics: Tensor;
  window: readonly number[];
}

/** Means and variances of image [N, 1, D, H, W] in a window of odd size (voxels; one, or w, h, d); voxels outside do not count. */
export function localStatistics(image: Tensor, window: PerAxis): Statistics {
  const sizes = perAxis(window);
  const centred = centre(image);
  return { image: centred, statistics: trace(statisticsOp, [centred], { window: sizes }), window: sizes };
}

export interface LnccAttrs {
  window: readonly number[];
  epsilon: number;
}

export function checkPair(op: string, a: Shape, b: Shape): void {
  volume(op, 'images', a, 1);
  if (!sameShape(a, b)) throw new Error(`${op}: images ${show(a)} and ${show(b)} differ in shape`);
}

/**
 * The mean LNCC; and, where it is used, what its gradient for b needs: sums of the windows' terms over W and H. All in the second output.
 */
const lnccOp: Op<LnccAttrs> = {
  name: 'lncc',
  shape([a, b], { epsilon, window }) {
    checkPair('lncc', a, b);
    if (!(epsilon > 0)) throw new Error(`lncc: epsilon must be above 0, got ${epsilon}`);
    return [[1], fields(a, window)];
  },
  launch(node) {
    const {
      inputs: [a, b, statistics],
      outputs: [y, terms],
      attrs: { window, epsilon },
      used,
      processor,
    } = node;
    const { params, partials: walked, ...over } = wholeColumns(processor, a.shape, window);
    // the most of them, so that memory does not depend on the processor
    const partials = node.workspace('similarities', [wholeColumns('gpu', a.shape, window).partials]);
    return [
      ...products(processor, a, b, window, terms),
      {
        kernel: termsKernel,
        ...over,
        params: { ...params, epsilon },
        bindings: { t: terms, statistics, partial_sums: partials },
      },
      ...(used[1] ? termSums(processor, terms, a.shape, window) : []),
      ...reduceTo(node, 'SUM', partials, partials, y, 1 / numel(a.shape), walked),
    ];
  },
  vjp({ inputs: [a, b], outputs: [, terms], cotangents: [dy], wanted, attrs }) {
    if (!dy) return [];
    // LNCC is symmetric: the gradient for a is that of LNCC(b, a) for its second image.
    const forA = () => lnccGradient(b, a, trace(statisticsOp, [b], { window: attrs.window }), dy, attrs);
    return [wanted[0] ? forA() : undefined, wanted[1] ? trace(lnccGradientOp, [terms, a, b, dy], { window: attrs.window }) : undefined];
  },
};

/** The gradient of dy · LNCC(a, b) for b, from the statistics of a. */
export function lnccGradient(a: Tensor, b: Tensor, statistics: Tensor, dy: Tensor, attrs: LnccAttrs): Tensor {
  const [, terms] = b.graph.apply(lnccOp, [a, b, statistics], attrs);
  return trace(lnccGradientOp, [terms, a, b, dy], { window: attrs.window });
}

const lnccGradientOp: Op<{ window: readonly number[] }> = {
  name: 'lnccGradient',
  shape: ([, a]) => [a],
  launch(node) {
    const {
      inputs: [terms, a, b, dy],
      outputs: [db],
      attrs: { window },
    } = node;
    return [gatherTerms(node.processor, terms, window, { a, b, dy, db }, false)];
  },
};

/**
 * LNCC's own default, for images scaled to 0…1: a window counts half at a variance of 0.001 in both (a standard deviation of 0.03), and
 * less below, so that flat tissue and noise pull little. Well above rounding.
 */
export const LNCC_EPSILON = 1e-6;

/**
 * Mean over all windows of the squared local correlation cov²/(var·var + ε), shape [1]; 1 is a perfect local linear relation of windows
 * with variances far above √ε. Images [N, 1, D, H, W] on one grid; windows count only voxels inside. Avants et al., Med. Image Anal. 2008.
 */
export function lncc(a: Tensor | Statistics, b: Tensor, window: PerAxis, epsilon = LNCC_EPSILON): Tensor {
  const s = 'statistics' in a ? a : localStatistics(a, window);
  if (perAxis(window).some((size, axis) => size !== s.window[axis]))
    throw new Error(`lncc: window ${window}, but the statistics are of a window of ${s.window.join(', ')}`);
  return b.graph.apply(lnccOp, [s.image, centre(b), s.statistics], { window: s.window, epsilon })[0];
}

/**
 * Global normalized cross-correlation cov/sqrt(var·var + ε), shape [1]: −1 … 1; ε is at the level of rounding of images scaled to 0…1, so
 * that contrast does not matter. `weight`, a mask of the same shape, weighs the voxels.
 */
export function ncc(a: Tensor, b: Tensor, epsilon = 1e-10, weight?: Tensor): Tensor {
  if (!sameShape(a.shape, b.shape)) throw new Error(`ncc: images ${show(a.shape)} and ${show(b.shape)} differ in shape`);
  const total = weight && scale(mean(weight), 1, 1e-12); // an empty mask gives 0, not NaN
  const average = (x: Tensor) => (weight ? div(mean(mul(weight, x)), total!) : mean(x));
  const da = sub(a, average(a)),
    db = sub(b, average(b));
  return div(average(mul(da, db)), sqrt(scale(mul(average(square(da)), average(square(db))), 1, epsilon)));
}

/** Mean squared error, shape [1]. */
export function mse(a: Tensor, b: Tensor): Tensor {
  if (!sameShape(a.shape, b.shape)) throw new Error(`mse: images ${show(a.shape)} and ${show(b.shape)} differ in shape`);
  return mean(square(sub(a, b)));
}
