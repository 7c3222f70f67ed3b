// Image similarities: local normalized cross-correlation (LNCC), global NCC, mean squared error, and their gradients.
import gradientSource from '../../kernels/lncc_gradient.wgsl';
import forceSource from '../../kernels/lncc_force.wgsl';
import productsSource from '../../kernels/lncc_products.wgsl';
import statisticsSource from '../../kernels/local_statistics.wgsl';
import termsSource from '../../kernels/lncc_terms.wgsl';
import sampleMeanSource from '../../kernels/sample_mean.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Op, sameShape, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { checkWindow, type PerAxis, perAxis, windowPass } from './filter.ts';
import { along, lines, RUN, volume, WG } from './launch.ts';
import { div, mul, scale, sqrt, square, sub, subtractScalar } from './pointwise.ts';
import { finish, mean } from './reduce.ts';

const sampleMeanKernel = kernel('sample_mean', sampleMeanSource);
const productsKernel = kernel('lncc_products', productsSource);
const statisticsKernel = kernel('local_statistics', statisticsSource);
const termsKernel = kernel('lncc_terms', termsSource);
const gradientKernel = kernel('lncc_gradient', gradientSource);
const forceKernel = kernel('lncc_force', forceSource);

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
function columns(shape: Shape, window: readonly number[]) {
  const { n, d, h, w } = volume('lncc', 'image', shape, 1);
  const { constants, groups, runs } = lines(n * h * w, d);
  const [radius_w, radius_h, radius_d] = window.map((x) => (x - 1) / 2) as [number, number, number];
  return { constants: { ...constants, RUN }, groups, params: { lines: n * h * w, w, h, d, runs, radius_w, radius_h, radius_d } };
}

/** Sums of (b, b², a·b) over the window along W, then H, into t (through `between`). */
function products(a: Tensor, b: Tensor, window: readonly number[], between: Tensor, t: Tensor): Dispatch[] {
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

const fields = (shape: Shape): Shape => [shape[0]!, ...shape.slice(2), 4];

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

interface LnccAttrs {
  window: readonly number[];
  epsilon: number;
}

function checkPair(op: string, a: Shape, b: Shape): void {
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
    const partials = node.workspace('partials', [groups[0] * groups[1]]);
    return [
      ...products(a!, b!, window, between, t),
      {
        kernel: termsKernel,
        constants,
        groups,
        params: { ...params, epsilon },
        bindings: { t, statistics: moments!, terms: terms!, partial_sums: partials },
      },
      finish(partials, y!, 1 / numel(a!.shape)),
    ];
  },
  vjp({ inputs: [a, b], outputs: [, terms], cotangents: [dy], wanted, attrs }) {
    if (!dy) return [];
    const gradient = (of: Tensor, other: Tensor, fieldsOf: Tensor) =>
      trace(lnccGradientOp, [fieldsOf, other, of, dy], { window: attrs.window });
    // LNCC is symmetric: the gradient for a is that of LNCC(b, a) for its second image.
    const forA = () => {
      const moments = trace(statisticsOp, [b!], { window: attrs.window });
      const [, fieldsOf] = a!.graph.apply(lnccOp, [b!, a!, moments], attrs);
      return gradient(a!, b!, fieldsOf!);
    };
    return [wanted[0] ? forA() : undefined, wanted[1] ? gradient(b!, a!, terms!) : undefined];
  },
};

const lnccGradientOp: Op<{ window: readonly number[] }> = {
  name: 'lnccGradient',
  shape: ([, a]) => [a!],
  launch(node) {
    const {
      inputs: [terms, a, b, dy],
      outputs: [db],
      attrs: { window },
    } = node;
    const count = numel(a!.shape);
    const overW = node.workspace('lines', terms!.shape),
      overH = node.workspace('planes', terms!.shape);
    const {
      constants,
      groups,
      params: { lines: columnCount, w, h, d, runs, radius_d },
    } = columns(a!.shape, window);
    return [
      windowPass(terms!, overW, along(a!.shape, 0), window[0]!, count, 4),
      windowPass(overW, overH, along(a!.shape, 1), window[1]!, count, 4),
      {
        kernel: gradientKernel,
        constants,
        groups,
        params: { lines: columnCount, w, h, d, runs, radius: radius_d, scale: 1 / count },
        bindings: { t: overH, a: a!, b: b!, dy: dy!, db: db! },
      },
    ];
  },
};

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

const lnccForceOp: Op<LnccAttrs> = {
  name: 'lnccForce',
  shape([a, b, , gradient, weight]) {
    checkPair('lnccForce', a!, b!);
    const { n, d, h, w } = volume('lnccForce', 'image', a!);
    if (!sameShape(gradient!, [n, 3, d, h, w]))
      throw new Error(`lnccForce: the gradient of ${show(b!)} must be [N, 3, D, H, W], got ${show(gradient!)}`);
    if (weight) checkPair('lnccForce', a!, weight);
    return [gradient!, [1]];
  },
  launch(node): Dispatch[] {
    const {
      inputs: [a, b, moments, gradient, weight],
      outputs: [force, y],
      attrs: { window, epsilon },
    } = node;
    const between = node.workspace('lines', fields(a!.shape)),
      t = node.workspace('planes', fields(a!.shape));
    const { constants, groups, params } = columns(a!.shape, window);
    const partials = node.workspace('partials', [groups[0] * groups[1]]);
    return [
      ...products(a!, b!, window, between, t),
      {
        kernel: forceKernel,
        constants: { ...constants, WEIGHTED: String(!!weight) },
        groups,
        params: { ...params, epsilon },
        bindings: {
          t,
          a: a!,
          b: b!,
          statistics: moments!,
          gradient: gradient!,
          weight: weight ?? a!,
          force: force!,
          partial_sums: partials,
        },
      },
      finish(partials, y!, 1 / numel(a!.shape)),
    ];
  },
};

/**
 * The force of LNCC on a displacement, [N, 3, D, H, W]: the derivative of each window's LNCC by its own centre voxel of b, times
 * the image gradient there; and the mean LNCC [1]. It leaves out the windows that a voxel shares with its neighbours
 * (Avants et al. 2008), which costs half of what the exact gradient costs. b is centred (`centre`); `weight` [N, 1, D, H, W], a
 * mask, multiplies the force and weighs the mean. Has no VJP.
 */
export function lnccForce(
  a: Statistics,
  b: Tensor,
  gradient: Tensor,
  weight?: Tensor,
  epsilon = LNCC_EPSILON,
): { force: Tensor; similarity: Tensor } {
  const inputs = [a.image, b, a.moments, gradient, ...(weight ? [weight] : [])];
  const [force, similarity] = b.graph.apply(lnccForceOp, inputs, { window: a.window, epsilon });
  return { force: force!, similarity: weight ? div(similarity!, scale(mean(weight), 1, 1e-12)) : similarity! };
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
