// Sums and means of a whole tensor, in a fixed order, and the spreading of a scalar, which is their adjoint.
import reduceSource from '../../kernels/reduce.wgsl';
import spreadSource from '../../kernels/spread.wgsl';
import sumRowsSource from '../../kernels/sum_rows.wgsl';
import { kernel } from '../gpu/kernel.ts';
import {
  type Dispatch,
  type Launch,
  numel,
  type Op,
  type Processor,
  sameShape,
  type Shape,
  show,
  type Tensor,
  trace,
} from '../graph/graph.ts';
import { flat, SUMMING, WG } from './launch.ts';

const reduceKernel = kernel('reduce', reduceSource);
const spreadKernel = kernel('spread', spreadSource);
const sumRowsKernel = kernel('sum_rows', sumRowsSource);

/** Workgroups of the first launch of a reduction over `count` items: enough of them to fill a GPU, and work enough for each. */
export const partialsOf = (count: number): number => Math.min(1024, Math.ceil(count / (16 * WG)));

/** The second launch of a reduction: y[0] = scale · Σ partials (or their largest). */
export function finish(processor: Processor, partials: Tensor, y: Tensor, scale = 1, mode = 'SUM'): Dispatch {
  return {
    kernel: reduceKernel,
    constants: { WG: SUMMING[processor], MODE: mode, LANES: 1 },
    groups: [1, 1, 1],
    bindings: { x: partials, y: partials, partials: y },
    params: { count: numel(partials.shape), offset: 0, scale },
  };
}

/** The first launch: partial sums of the first `count` values of x (or of x·y, or largest), from `offset` on. */
export function reducePart(
  processor: Processor,
  mode: 'SUM' | 'DOT' | 'LARGEST',
  x: Tensor,
  y: Tensor,
  partials: Tensor,
  offset = 0,
  count = numel(x.shape),
): Dispatch {
  const lanes = count % 4 === 0 ? 4 : 1;
  return {
    kernel: reduceKernel,
    constants: { WG: SUMMING[processor], MODE: mode, LANES: lanes },
    groups: [partialsOf(numel(x.shape)), 1, 1],
    bindings: { x, y, partials },
    params: { count: count / lanes, offset, scale: 1 },
  };
}

/** Both launches of a reduction of x (or of x·y), or its first `count` values, to y[0]. */
export function reduceTo(
  node: Pick<Launch<unknown>, 'workspace' | 'processor'>,
  mode: 'SUM' | 'DOT' | 'LARGEST',
  x: Tensor,
  other: Tensor,
  y: Tensor,
  scale = 1,
  count = numel(x.shape),
): Dispatch[] {
  const partials = node.workspace('partials', [partialsOf(numel(x.shape))]);
  return [
    reducePart(node.processor, mode, x, other, partials, 0, count),
    finish(node.processor, partials, y, scale, mode === 'LARGEST' ? mode : 'SUM'),
  ];
}

/** One launch of y[j] = Σ_i x[i, j], x [rows, columns]: ends a reduction of several values at once. */
export const sumRows = (x: Tensor, y: Tensor, rows: number, columns: number): Dispatch => ({
  kernel: sumRowsKernel,
  constants: { WG },
  groups: [columns, 1, 1],
  bindings: { x, y },
  params: { rows, columns },
});

const sumOp: Op<{ scale: number }> = {
  name: 'sum',
  shape: () => [[1]],
  launch: (node) => reduceTo(node, 'SUM', node.inputs[0], node.inputs[0], node.outputs[0], node.attrs.scale),
  vjp: ({ inputs: [x], cotangents: [dy], attrs: { scale } }) => [spread(dy!, x.shape, scale)],
};

/** Σ x, shape [1]. */
export const sum = (x: Tensor): Tensor => trace(sumOp, [x], { scale: 1 });
/** Mean of x, shape [1]. */
export const mean = (x: Tensor): Tensor => trace(sumOp, [x], { scale: 1 / numel(x.shape) });

const spreadOp: Op<{ shape: Shape; factor: number }> = {
  name: 'spread',
  shape([s], { shape }) {
    if (!sameShape(s, [1])) throw new Error(`spread: takes one value, of shape [1], got ${show(s)}`);
    return [shape];
  },
  launch({ inputs: [s], outputs: [y], attrs: { factor } }) {
    const count = numel(y.shape);
    return [{ kernel: spreadKernel, ...flat(count), bindings: { s, y }, params: { count, factor } }];
  },
  vjp: ({ cotangents: [dy], attrs: { factor } }) => [trace(sumOp, [dy!], { scale: factor })],
};

/** factor · s everywhere, s of shape [1]. */
export const spread = (s: Tensor, shape: Shape, factor = 1): Tensor => trace(spreadOp, [s], { shape, factor });
