// Storage in f16: half the memory and traffic of activations; sums stay f32 inside every kernel. Where a convolution takes several passes
// over its input channels, what one pass has summed is stored as f16 for the next.
import narrowSource from '../../kernels/narrow.wgsl';
import widenSource from '../../kernels/widen.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type DType, numel, type Op, type Tensor, trace } from '../graph/graph.ts';
import { flat } from './launch.ts';

const narrowKernel = kernel('narrow', narrowSource);
const widenKernel = kernel('widen', widenSource);

const castOp: Op<{ to: DType }> = {
  name: 'cast',
  shape: ([x]) => [x],
  dtype: (_, { to }) => to,
  launch({ inputs: [x], outputs: [y], attrs: { to } }) {
    const count = numel(x.shape);
    return [{ kernel: to === 'f16' ? narrowKernel : widenKernel, ...flat(count), bindings: { x, y }, params: { count } }];
  },
  vjp: ({ inputs: [x], cotangents: [dy] }) => [cast(dy!, x.dtype)],
};

/**
 * x stored as `to`; x itself if it is. f16 holds 6.1e-5 … 65504 with 3 digits, and what is smaller with fewer, or as 0: scale a loss whose
 * gradient is that small. Values beyond become infinite, which solvers report as non-finite.
 */
export const cast = (x: Tensor, to: DType): Tensor => (x.dtype === to ? x : trace(castOp, [x], { to }));
