// Activations, differentiated from their output: what came in need not be kept.
import activationSource from '../../kernels/activation.wgsl';
import activationDxSource from '../../kernels/activation_dx.wgsl';
import { type Constants, kernel } from '../gpu/kernel.ts';
import { numel, oneDtype, type Op, type Tensor, trace } from '../graph/graph.ts';
import { flatItems } from './launch.ts';

const activationKernel = kernel('activation', activationSource);
const activationDxKernel = kernel('activation_dx', activationDxSource);

/** What kernels/lib/activation.wgsl calls them. */
const names = { relu: 'RELU', leakyRelu: 'LEAKY_RELU', elu: 'ELU', tanh: 'TANH', sigmoid: 'SIGMOID' };
/** `negative`: the slope of leakyRelu, the α of elu; 0 for the others. */
export interface Activation {
  f: keyof typeof names;
  negative: number;
}

/** What kernels/lib/activation.wgsl wants to know. */
export const activationConstants = ({ f, negative }: Activation): Constants => ({
  ACTIVATION: names[f],
  NEGATIVE: negative,
});

const activationOp: Op<Activation> = {
  name: 'activation',
  dtype: oneDtype,
  shape([x], { f, negative }) {
    if (!(negative >= 0 && Number.isFinite(negative)))
      throw new Error(`${f}: the ${f === 'elu' ? 'alpha' : 'slope'} must be ≥ 0, got ${negative}`);
    return [x];
  },
  launch({ inputs: [x], outputs: [y], attrs }) {
    const { constants, groups, count } = flatItems(numel(x.shape));
    return [
      {
        kernel: activationKernel,
        constants: { ...constants, ...activationConstants(attrs) },
        groups,
        bindings: { x, y },
        params: { count },
      },
    ];
  },
  vjp: ({ outputs: [y], cotangents: [dy], attrs }) => [trace(activationDxOp, [y, dy!], attrs)],
};

const activationDxOp: Op<Activation> = {
  name: 'activationDx',
  dtype: oneDtype,
  shape: ([y]) => [y],
  launch({ inputs: [y, dy], outputs: [dx], attrs }) {
    const { constants, groups, count } = flatItems(numel(y.shape));
    return [
      {
        kernel: activationDxKernel,
        constants: { ...constants, ...activationConstants(attrs), IN_PLACE: 0 },
        groups,
        bindings: { y, dy, dx },
        params: { count },
        inPlace: { result: 'dx', of: [{ name: 'dy', meanwhile: 'y' }] },
      },
    ];
  },
};

/** The gradient in x of y = f(x), from y: for ops that apply an activation themselves. */
export const activationDx = (y: Tensor, dy: Tensor, activation: Activation): Tensor => trace(activationDxOp, [y, dy], activation);

/** max(x, 0); derivative 0 at 0. */
export const relu = (x: Tensor): Tensor => trace(activationOp, [x], { f: 'relu', negative: 0 });
/** x above 0, slope · x below. */
export const leakyRelu = (x: Tensor, slope = 0.2): Tensor => trace(activationOp, [x], { f: 'leakyRelu', negative: slope });
/** x above 0, alpha · (exp(x) − 1) below. */
export const elu = (x: Tensor, alpha = 1): Tensor => trace(activationOp, [x], { f: 'elu', negative: alpha });
export const tanh = (x: Tensor): Tensor => trace(activationOp, [x], { f: 'tanh', negative: 0 });
/** 1/(1 + exp(−x)) */
export const sigmoid = (x: Tensor): Tensor => trace(activationOp, [x], { f: 'sigmoid', negative: 0 });
