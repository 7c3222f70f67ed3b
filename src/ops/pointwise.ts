// Pointwise arithmetic with scalar and channel broadcasting, dot product, fills and assignments, with their gradients.
import binarySource from '../../kernels/binary.wgsl';
import unarySource from '../../kernels/unary.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, type Graph, numel, oneDtype, type Op, sameShape, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { fillWith, flat, flatItems } from './launch.ts';
import { concat, copy, split, sumChannels } from './channels.ts';
import { reduceTo, sum } from './reduce.ts';

const unaryKernel = kernel('unary', unarySource);
const binaryKernel = kernel('binary', binarySource);

/** In capitals a constant of kernels/unary.wgsl. */
type Function = 'scale' | 'square' | 'sqrt' | 'exp' | 'log' | 'abs' | 'reciprocal' | 'sign' | 'window';
interface UnaryAttrs {
  f: Function;
  factor: number;
  offset: number;
}

/** One launch of y = f(x). */
function unaryLaunch(x: Tensor, y: Tensor, f: Function, factor: number, offset: number): Dispatch {
  const { constants, groups, count } = flatItems(numel(x.shape));
  return {
    kernel: unaryKernel,
    constants: { ...constants, OP: f.toUpperCase() },
    groups,
    bindings: { x, y },
    params: { count, factor, offset },
  };
}

const unaryOp: Op<UnaryAttrs> = {
  name: 'unary',
  dtype: oneDtype,
  recompute: true,
  shape: ([x]) => [x],
  launch: ({ inputs: [x], outputs: [y], attrs: { f, factor, offset } }) => [unaryLaunch(x, y, f, factor, offset)],
  vjp({ inputs: [x], outputs: [y], cotangents: [dy], attrs: { f, factor } }) {
    switch (f) {
      case 'scale':
        return [scale(dy!, factor)];
      case 'square':
        return [mul(dy!, scale(x, 2))];
      case 'sqrt':
        return [div(dy!, scale(y, 2))];
      case 'exp':
        return [mul(dy!, y)];
      case 'log':
        return [div(dy!, x)];
      case 'abs':
        return [mul(dy!, unary(x, 'sign'))];
      case 'reciprocal':
        return [mul(dy!, scale(square(y), -1))];
      case 'sign':
        return [undefined];
      case 'window':
        throw new Error('applyWindow has no gradient: images are prepared outside of what is differentiated');
    }
  },
};

const unary = (x: Tensor, f: Function, factor = 1, offset = 0) => trace(unaryOp, [x], { f, factor, offset });
/** factor · x + offset */
export const scale = (x: Tensor, factor: number, offset = 0): Tensor => unary(x, 'scale', factor, offset);
/** (x − low)/(high − low), cut to 0…1: intensities for registration. Has no VJP. */
export const applyWindow = (x: Tensor, low: number, high: number): Tensor => unary(x, 'window', 1 / (high - low), -low / (high - low));
export const neg = (x: Tensor): Tensor => scale(x, -1);
export const square = (x: Tensor): Tensor => unary(x, 'square');
export const sqrt = (x: Tensor): Tensor => unary(x, 'sqrt');
export const exp = (x: Tensor): Tensor => unary(x, 'exp');
export const log = (x: Tensor): Tensor => unary(x, 'log');
export const abs = (x: Tensor): Tensor => unary(x, 'abs');
export const reciprocal = (x: Tensor): Tensor => unary(x, 'reciprocal');

/** One launch of y = x − s, s of shape [1]. */
export function subtractScalar(x: Tensor, s: Tensor, y: Tensor): Dispatch {
  const spatial = numel(x.shape);
  const { constants, groups } = flat(spatial);
  return {
    kernel: binaryKernel,
    groups,
    constants: { ...constants, OP: 'AXPBY', KIND_A: 'FULL', KIND_B: 'SCALAR', IN_PLACE: 0, LANES: 1 },
    bindings: { a: x, b: s, y },
    params: { spatial, channels: 1, alpha: 1, beta: -1 },
  };
}

const detachOp: Op<object> = {
  name: 'detach',
  dtype: oneDtype,
  constant: true,
  shape: ([x]) => [x],
  launch: ({ inputs: [x], outputs: [y] }) => [unaryLaunch(x, y, 'scale', 1, 0)],
};

/** x, counted as a constant: gradients stop here. */
export const detach = (x: Tensor): Tensor => trace(detachOp, [x], {});

/** In capitals a constant of kernels/binary.wgsl. */
type BinaryFunction = 'axpby' | 'mul' | 'div';
interface BinaryAttrs {
  f: BinaryFunction;
  a: number;
  b: number;
}

/** How an operand is laid over the result: as it is, one channel for all, or one value for all. */
function broadcast(shape: Shape, result: Shape): 'FULL' | 'CHANNEL' | 'SCALAR' | undefined {
  if (sameShape(shape, result)) return 'FULL';
  if (sameShape(shape, [1])) return 'SCALAR';
  const oneChannel = shape.length === result.length && shape[1] === 1 && shape.every((n, i) => i === 1 || n === result[i]);
  return oneChannel ? 'CHANNEL' : undefined;
}

const binaryOp: Op<BinaryAttrs> = {
  name: 'binary',
  dtype: oneDtype,
  shape([a, b], { f }) {
    const result = broadcast(b, a) ? a : b;
    if (!broadcast(a, result) || !broadcast(b, result)) {
      throw new Error(`${f}: shapes ${show(a)} and ${show(b)} do not fit; they must be equal, or one is [1] or [N, 1, D, H, W]`);
    }
    return [result];
  },
  launch({ inputs: [x, y], outputs: [out], attrs: { f, a, b } }) {
    const kinds = [broadcast(x.shape, out.shape)!, broadcast(y.shape, out.shape)!];
    const split = kinds.includes('CHANNEL');
    const z = split ? out.shape[0] * out.shape[1] : 1;
    const { constants, groups, count } = flatItems(numel(out.shape) / z, z, kinds.includes('SCALAR') ? 1 : undefined);
    return [
      {
        kernel: binaryKernel,
        groups,
        constants: {
          ...constants,
          OP: f.toUpperCase(),
          KIND_A: kinds[0],
          KIND_B: kinds[1],
          IN_PLACE: 0,
        },
        bindings: { a: x, b: y, y: out },
        params: { spatial: count, channels: split ? out.shape[1] : 1, alpha: a, beta: b },
        inPlace: {
          result: 'y',
          of: [
            { name: 'a', meanwhile: 'b' },
            { name: 'b', meanwhile: 'a' },
          ],
        },
      },
    ];
  },
  vjp({ inputs: [x, y], outputs: [out], cotangents: [dy], wanted, attrs: { f, a, b } }) {
    const to = (operand: Tensor, g: () => Tensor, want: boolean) => {
      if (!want) return undefined;
      const kind = broadcast(operand.shape, out.shape);
      return kind === 'FULL' ? g() : kind === 'CHANNEL' ? sumChannels(g()) : sum(g());
    };
    const dx = () => (f === 'axpby' ? scale(dy!, a) : f === 'mul' ? mul(dy!, y) : div(dy!, y));
    const dyy = () => (f === 'axpby' ? scale(dy!, b) : f === 'mul' ? mul(dy!, x) : neg(mul(dy!, div(out, y))));
    return [to(x, dx, wanted[0]), to(y, dyy, wanted[1])];
  },
};

/** a·x + b·y. Here and below an operand may be [1] or have one channel: it is laid over the other one. */
export const axpby = (a: number, x: Tensor, b: number, y: Tensor): Tensor => trace(binaryOp, [x, y], { f: 'axpby', a, b });
export const add = (x: Tensor, y: Tensor): Tensor => axpby(1, x, 1, y);
export const sub = (x: Tensor, y: Tensor): Tensor => axpby(1, x, -1, y);
export const mul = (x: Tensor, y: Tensor): Tensor => trace(binaryOp, [x, y], { f: 'mul', a: 1, b: 1 });
export const div = (x: Tensor, y: Tensor): Tensor => trace(binaryOp, [x, y], { f: 'div', a: 1, b: 1 });

const dotOp: Op<object> = {
  name: 'dot',
  shape([x, y]) {
    if (!sameShape(x, y)) throw new Error(`dot: shapes ${show(x)} and ${show(y)} differ`);
    return [[1]];
  },
  launch: (node) => reduceTo(node, 'DOT', node.inputs[0], node.inputs[1], node.outputs[0]),
  vjp: ({ inputs: [x, y], cotangents: [dy], wanted }) => [wanted[0] ? mul(y, dy!) : undefined, wanted[1] ? mul(x, dy!) : undefined],
};

/** Σ x·y, shape [1]. */
export const dot = (x: Tensor, y: Tensor): Tensor => trace(dotOp, [x, y], {});

const fillOp: Op<{ shape: Shape; value: number }> = {
  name: 'fill',
  shape: (_, { shape }) => [shape],
  launch: ({ outputs: [y], attrs: { value } }) => [fillWith(y, value)],
};

/** A tensor of one value everywhere. */
export const fill = (graph: Graph, shape: Shape, value: number): Tensor => graph.apply(fillOp, [], { shape, value })[0];

const assignOp: Op<object> = {
  name: 'assign',
  shape([x], _, [variable]) {
    if (!sameShape(x, variable)) throw new Error(`assign: the variable is ${show(variable)}, the value ${show(x)}`);
    return [];
  },
  launch({ inputs: [x], updates: [variable] }) {
    return [copy(x, variable, numel(x.shape), 1, { from: 0, of: 1 }, { to: 0, of: 1 }, 1)];
  },
  overwrites: (updates) => updates,
};

/** variable ← value */
export const assign = (variable: Tensor, value: Tensor): void => void variable.graph.apply(assignOp, [value], {}, [variable]);

const resetOp: Op<{ value: number }> = {
  name: 'reset',
  shape: () => [],
  launch: ({ updates: [variable], attrs: { value } }) => [fillWith(variable, value)],
  overwrites: (updates) => updates,
};

/** variable ← value everywhere */
export const reset = (variable: Tensor, value = 0): void => void variable.graph.apply(resetOp, [], { value }, [variable]);

/** Each channel times its factor. */
export function scaleChannels(x: Tensor, factors: readonly number[]): Tensor {
  if (factors.every((f) => f === factors[0])) return factors[0] === 1 ? x : scale(x, factors[0]);
  return concat(
    ...split(
      x,
      factors.map(() => 1),
    ).map((channel, c) => scale(channel, factors[c])),
  );
}
