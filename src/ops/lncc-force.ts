// The force of LNCC on a displacement, and its gradients.
import forceSource from '../../kernels/lncc_force.wgsl';
import forceTermsSource from '../../kernels/lncc_force_terms.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, type Launch, numel, type Op, sameShape, show, type Tensor } from '../graph/graph.ts';
import { sumChannels } from './channels.ts';
import { volume } from './launch.ts';
import { add, div, mul, scale } from './pointwise.ts';
import { mean, reduceTo } from './reduce.ts';
import { checkPair, LNCC_EPSILON, type LnccAttrs, lnccGradient, type Statistics } from './similarity.ts';
import { columns, fields, gatherTerms, products, termSums, wholeColumns } from './window-sums.ts';

const forceKernel = kernel('lncc_force', forceSource);
const forceTermsKernel = kernel('lncc_force_terms', forceTermsSource);

const lnccForceOp: Op<LnccAttrs> = {
  name: 'lnccForce',
  shape([a, b, , gradient, weight], { epsilon }) {
    checkPair('lnccForce', a, b);
    if (!(epsilon > 0)) throw new Error(`lnccForce: epsilon must be above 0, got ${epsilon}`);
    const { n, d, h, w } = volume('lnccForce', 'image', a);
    if (!sameShape(gradient, [n, 3, d, h, w]))
      throw new Error(`lnccForce: the gradient of ${show(b)} must be [N, 3, D, H, W], got ${show(gradient)}`);
    if (weight) checkPair('lnccForce', a, weight);
    return [gradient, [1]];
  },
  launch(node): Dispatch[] {
    const {
      inputs: [a, b, statistics, gradient, weight],
      outputs: [force, y],
    } = node;
    const { passes, partials } = forcePasses(node, { a, b, statistics }, gradient, force, weight);
    return [...passes, ...reduceTo(node, 'SUM', partials, partials, y, 1 / numel(a.shape))];
  },
  vjp({ inputs: [a, b, statistics, gradient, weight], cotangents: [dforce, dy], wanted, attrs }) {
    if (wanted[0] || wanted[2]) throw new Error('lnccForce: the fixed image has no gradient');
    if (dy && weight) throw new Error('lnccForce: the similarity has no gradient where a mask weighs it');
    const { graph } = b;
    let db = dy && wanted[1] ? lnccGradient(a, b, statistics, dy, attrs) : undefined;
    let dgradient: Tensor | undefined;
    let dweight: Tensor | undefined;
    if (dforce && (wanted[1] || wanted[3])) {
      const weighted = weight ? mul(weight, dforce) : dforce;
      const [ofB, ofGradient] = graph.apply(lnccForceGradientOp, [a, b, statistics, gradient, weighted], attrs);
      db = db ? add(db, ofB) : ofB;
      dgradient = ofGradient;
    }
    if (dforce && wanted[4]) {
      const [unweighted] = graph.apply(lnccForceOp, [a, b, statistics, gradient], attrs);
      dweight = sumChannels(mul(dforce, unweighted));
    }
    return [undefined, db, undefined, dgradient, dweight];
  },
};

/** Gradients of the unweighted force for b and for the image gradient, of which it is linear: dgradient = g·dforce. */
const lnccForceGradientOp: Op<LnccAttrs> = {
  name: 'lnccForceGradient',
  shape: ([, b, , gradient]) => [b, gradient],
  launch(node): Dispatch[] {
    const {
      inputs: [a, b, statistics, gradient, dforce],
      outputs: [db, dgradient],
      attrs: { window, epsilon },
      processor,
    } = node;
    const images = { a, b, statistics };
    const { t, passes } = forcePasses(node, images, dforce, dgradient);
    const { params, constants, groups } = wholeColumns(processor, a.shape, window);
    return [
      ...passes,
      {
        kernel: forceTermsKernel,
        constants,
        groups,
        params: { ...params, epsilon },
        bindings: { t, ...images, gradient, dforce, db },
      },
      ...termSums(processor, t, a.shape, window),
      gatherTerms(processor, t, window, { a, b, dy: a, db }, true),
    ];
  },
};

/** force = g·gradient, the sums t over W and H that it is made of, and partial sums of the similarity. */
function forcePasses(
  node: Launch<LnccAttrs>,
  images: Record<'a' | 'b' | 'statistics', Tensor>,
  gradient: Tensor,
  force: Tensor,
  weight?: Tensor,
): { t: Tensor; partials: Tensor; passes: Dispatch[] } {
  const { window, epsilon } = node.attrs;
  const { a, b } = images;
  const t = node.workspace('planes', fields(a.shape, window));
  const { constants, groups, params } = columns(node.processor, a.shape, window);
  const partials = node.workspace('similarities', [params.lines * params.runs]);
  const passes = [
    ...products(node.processor, a, b, window, t),
    {
      kernel: forceKernel,
      constants: { ...constants, WEIGHTED: !!weight },
      groups,
      params: { ...params, epsilon },
      bindings: { t, ...images, gradient, weight: weight ?? a, force, partial_sums: partials },
    },
  ];
  return { t, partials, passes };
}

/**
 * The force of LNCC on a displacement, [N, 3, D, H, W]: the derivative of each window's LNCC by its own centre voxel of b, times
 * the image gradient there; and the mean LNCC [1]. It leaves out the windows that a voxel shares with its neighbours
 * (Avants et al. 2008), which costs half of what the exact gradient costs. b is centred (`centre`); `weight` [N, 1, D, H, W], a
 * mask, multiplies the force and weighs the mean. The force has a VJP for b, gradient and weight, the mean for b where no mask
 * weighs it; what else is wanted is refused.
 */
export function lnccForce(
  a: Statistics,
  b: Tensor,
  gradient: Tensor,
  weight?: Tensor,
  epsilon = LNCC_EPSILON,
): { force: Tensor; similarity: Tensor } {
  const inputs = [a.image, b, a.statistics, gradient, ...(weight ? [weight] : [])];
  const [force, similarity] = b.graph.apply(lnccForceOp, inputs, { window: a.window, epsilon });
  return { force, similarity: weight ? div(similarity, scale(mean(weight), 1, 1e-12)) : similarity };
}
