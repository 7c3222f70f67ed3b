// Image similarities: local normalized cross-correlation (LNCC), global NCC, mean squared error, and their gradients.
import gradientSource from '../../kernels/lncc_gradient.wgsl';
import productsSource from '../../kernels/lncc_products.wgsl';
import statisticsSource from '../../kernels/local_statistics.wgsl';
import termsSource from '../../kernels/lncc_terms.wgsl';
import sampleMeanSource from '../../kernels/sample_mean.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, type Launch, numel, type Op, sameShape, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { checkWindow, type PerAxis, perAxis, windowPass } from './filter.ts';
import { along, lines, RUN, volume, WG } from './launch.ts';
import { div, mul, scale, sqrt, square, sub, subtractScalar } from './pointwise.ts';
import { mean, reduceTo } from './reduce.ts';

const sampleMeanKernel = kernel('sample_mean', sampleMeanSource);
const productsKernel = kernel('lncc_products', productsSource);
const statisticsKernel = kernel('local_statistics', statisticsSource);
const termsKernel = kernel('lncc_terms', termsSource);
const gradientKernel = kernel('lncc_gradient', gradientSource);

const centreOp: Op<object> = {
  name: 'centre',
  shape: ([x]) => [x!],
  launch(node): Dispatch[] {
    const {
      inputs: [x],
      outputs: [y],
    } = node;
    const count = numel(x!.shape);
    // An odd stride near 1/4096 of the volume does not fall in step with its rows.
    const stride = Math.max(1, Math.floor(count / 4096)) | 1;
    const level = node.workspace('level', [1]);
    return [
      { kernel: sampleMeanKernel, constants: { WG }, groups: [1, 1, 1], bindings: { x: x!, y: level }, params: { count, stride } },
      subtractScalar(x!, level, y!),
    ];
  },
  vjp: ({ cotangents: [dy] }) => [dy], // of what does not depend on the constant, as LNCC
};

/**
 * x less a constant near its mean. LNCC does not depend on it, but in f32 its variances do: E[x²] − E[x]² of values
 * 1000 ± 1 is rounding error. The gradient leaves the constant out.
 */
export const centre = (x: Tensor): Tensor => trace(centreOp, [x], {});

/** Geometry that the kernels along D share: lines over the (n, h, w) columns, runs along d. */
export function columns(shape: Shape, window: readonly number[]) {
  const { n, d, h, w } = volume('lncc', 'image', shape, 1);
  const { constants, groups, runs } = lines(n * h * w, d);
  const [radius_w, radius_h, radius_d] = window.map((x) => (x - 1) / 2) as [number, number, number];
  return { constants: { ...constants, RUN }, groups, params: { lines: n * h * w, w, h, d, runs, radius_w, radius_h, radius_d } };
}

/** Sums of (b, b², a·b) over the window along W, then H, into t (through `between`). */
export function products(a: Tensor, b: Tensor, window: readonly number[], between: Tensor, t: Tensor): Dispatch[] {
  const { n: w } = along(a.shape, 0);
  const count = numel(a.shape);
  const { constants, groups, runs } = lines(count / w, w);
  return [
    {
      kernel: productsKernel,
      constants: { ...constants, RUN },
      groups,
      bindings: { a, b, t: between },
      params: { lines: count / w, n: w, runs, radius: (window[0]! - 1) / 2 },
    },
    windowPass(between, t, along(a.shape, 1), window[1]!, count, 4),
  ];
}

export const fields = (shape: Shape): Shape => [shape[0]!, ...shape.slice(2), 4];

const statisticsOp: Op<{ window: readonly number[] }> = {
  name: 'localStatistics',
  shape([x], { window }) {
    const { n, d, h, w } = volume('localStatistics', 'image', x!, 1);
    window.forEach((size) => checkWindow('localStatistics', size));
    return [[n, 2, d, h, w]];
  },
  launch(node) {
    const {
      inputs: [x],
      outputs: [y],
      attrs: { window },
    } = node;
    const between = node.workspace('lines', fields(x!.shape)),
      t = node.workspace('planes', fields(x!.shape));
    return [...products(x!, x!, window, between, t), { kernel: statisticsKernel, ...columns(x!.shape, window), bindings: { t, y: y! } }];
  },
};

/** What LNCC needs to know of an image that does not change, the image centred: trace it once, before the loop. */
export interface Statistics {
  image: Tensor;
  moments: Tensor;
  window: readonly number[];
}

/** Means and variances of image [N, 1, D, H, W] in a window of odd size (voxels; one, or w, h, d); voxels outside do not count. */
export function localStatistics(image: Tensor, window: PerAxis): Statistics {
  const sizes = perAxis(window);
  const centred = centre(image);
  return { image: centred, moments: trace(statisticsOp, [centred], { window: sizes }), window: sizes };
}

export interface LnccAttrs {
  window: readonly number[];
  epsilon: number;
}

export function checkPair(op: string, a: Shape, b: Shape): void {
  volume(op, 'images', a, 1);
  if (!sameShape(a, b)) throw new Error(`${op}: images ${show(a)} and ${show(b)} differ in shape`);
}

const lnccOp: Op<LnccAttrs> = {
  name: 'lncc',
  shape([a, b], { epsilon }) {
    checkPair('lncc', a!, b!);
    if (!(epsilon > 0)) throw new Error(`lncc: epsilon must be above 0, got ${epsilon}`);
    return [[1], fields(a!)];
  },
  launch(node) {
    const {
      inputs: [a, b, moments],
      outputs: [y, terms],
      attrs: { window, epsilon },
    } = node;
    const between = node.workspace('lines', fields(a!.shape)),
      t = node.workspace('planes', fields(a!.shape));
    const { constants, groups, params } = columns(a!.shape, window);
    const partials = node.workspace('similarities', [params.lines * params.runs]);
    return [
      ...products(a!, b!, window, between, t),
      {
        kernel: termsKernel,
        constants,
        groups,
        params: { ...params, epsilon },
        bindings: { t, statistics: moments!, terms: terms!, partial_sums: partials },
      },
      ...reduceTo(node, 'SUM', partials, partials, y!, 1 / numel(a!.shape)),
    ];
  },
  vjp({ inputs: [a, b], outputs: [, terms], cotangents: [dy], wanted, attrs }) {
    if (!dy) return [];
    // LNCC is symmetric: the gradient for a is that of LNCC(b, a) for its second image.
    const forA = () => lnccGradient(b!, a!, trace(statisticsOp, [b!], { window: attrs.window }), dy, attrs);
    return [wanted[0] ? forA() : undefined, wanted[1] ? trace(lnccGradientOp, [terms!, a!, b!, dy], { window: attrs.window }) : undefined];
  },
};

/** The gradient of dy · LNCC(a, b) for b, from the moments of a. */
export function lnccGradient(a: Tensor, b: Tensor, moments: Tensor, dy: Tensor, attrs: LnccAttrs): Tensor {
  const [, terms] = b.graph.apply(lnccOp, [a, b, moments], attrs);
  return trace(lnccGradientOp, [terms!, a, b, dy], { window: attrs.window });
}

const lnccGradientOp: Op<{ window: readonly number[] }> = {
  name: 'lnccGradient',
  shape: ([, a]) => [a!],
  launch(node) {
    const {
      inputs: [terms, a, b, dy],
      outputs: [db],
      attrs: { window },
    } = node;
    return gatherTerms(node, terms!, window, { a: a!, b: b!, dy: dy!, db: db! }, false);
  },
};

/** The windows' terms to the gradient for b: their sums over W, H and, weighted by the voxel's values, D. With `force` added to db. */
export function gatherTerms(
  { workspace }: Pick<Launch<unknown>, 'workspace'>,
  terms: Tensor,
  window: readonly number[],
  bindings: Record<'a' | 'b' | 'dy' | 'db', Tensor>,
  force: boolean,
): Dispatch[] {
  const { shape } = bindings.b,
    count = numel(shape);
  const overW = workspace('terms over W', terms.shape),
    overH = workspace('terms over H', terms.shape);
  const {
    constants,
    groups,
    params: { lines: columnCount, w, h, d, runs, radius_d },
  } = columns(shape, window);
  return [
    windowPass(terms, overW, along(shape, 0), window[0]!, count, 4),
    windowPass(overW, overH, along(shape, 1), window[1]!, count, 4),
    {
      kernel: gradientKernel,
      constants: { ...constants, FORCE: String(force) },
      groups,
      params: { lines: columnCount, w, h, d, runs, radius: radius_d, scale: 1 / count },
      bindings: { t: overH, ...bindings },
    },
  ];
}

/** LNCC's own default: smaller than the variance of any tissue in images scaled to 0…1, larger than rounding. */
export const LNCC_EPSILON = 1e-6;

/**
 * Mean over all windows of the squared local correlation cov²/(var·var + ε), shape [1]; 1 is a perfect local linear
 * relation. Images [N, 1, D, H, W] on one grid; windows count only voxels inside. Avants et al., Med. Image Anal. 2008.
 */
export function lncc(a: Tensor | Statistics, b: Tensor, window: PerAxis, epsilon = LNCC_EPSILON): Tensor {
  const s = 'moments' in a ? a : localStatistics(a, window);
  return b.graph.apply(lnccOp, [s.image, centre(b), s.moments], { window: s.window, epsilon })[0]!;
}

/** Global normalized cross-correlation cov/sqrt(var·var + ε), shape [1]: −1 … 1. `weight`, a mask of the same shape, weighs the voxels. */
export function ncc(a: Tensor, b: Tensor, epsilon = 1e-5, weight?: Tensor): Tensor {
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
