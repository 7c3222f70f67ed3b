// Random fields made on the GPU, the same for the same seed on one adapter.
import gaussianFieldSource from '../../kernels/gaussian_field.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { numel, type Op, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { flat } from './launch.ts';

const gaussianFieldKernel = kernel('gaussian_field', gaussianFieldSource);

/** Seeds are whole numbers below this: what f32 holds exactly. */
export const SEEDS = 2 ** 24;

const gaussianFieldOp: Op<{ shape: Shape }> = {
  name: 'gaussianField',
  constant: true,
  shape([seed], { shape }) {
    if (numel(seed) !== 1) throw new Error(`gaussianField: seed must be [1], got ${show(seed)}`);
    return [shape];
  },
  launch({ inputs: [seed], outputs: [y] }) {
    const count = numel(y.shape);
    return [{ kernel: gaussianFieldKernel, ...flat(count), bindings: { seed, y }, params: { count } }];
  },
};

/** Independent standard normal values; `seed` is a tensor [1] that holds a whole number in 0 … 2²⁴ − 1. A constant to gradients. */
export const gaussianField = (seed: Tensor, shape: Shape): Tensor => trace(gaussianFieldOp, [seed], { shape });
