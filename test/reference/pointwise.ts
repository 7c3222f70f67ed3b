// Pointwise ops. Binary ones broadcast as numpy does: a scalar [1] against a tensor, [N, 1, D, H, W] against [N, C, D, H, W].
import { map, sizeOf, zeros, type NdArray, type ReferenceOp } from './ndarray.ts';

export function broadcastShape(a: number[], b: number[]): number[] {
  const rank = Math.max(a.length, b.length);
  const padded = (shape: number[]) => [...Array(rank - shape.length).fill(1), ...shape];
  const [p, q] = [padded(a), padded(b)];
  if (p.some((n, i) => n !== q[i] && n !== 1 && q[i] !== 1)) throw new Error(`broadcast: shapes [${a}] and [${b}] do not fit`);
  return p.map((n, i) => Math.max(n, q[i]));
}

/** For each flat index of `shape`, the flat index in an operand of shape `from` that is broadcast to it. */
function sourceIndices(from: number[], shape: number[]): Int32Array {
  const padded = [...Array(shape.length - from.length).fill(1), ...from];
  const indices = new Int32Array(sizeOf(shape));
  for (let flat = 0; flat < indices.length; flat++) {
    let [rest, stride] = [flat, 1];
    for (let i = shape.length - 1; i >= 0; i--) {
      if (padded[i] > 1) indices[flat] += (rest % shape[i]) * stride;
      stride *= padded[i];
      rest = Math.floor(rest / shape[i]);
    }
  }
  return indices;
}

type Binary = (x: number, y: number) => number;

/** f(x, y) and its two partial derivatives. */
function binary(name: string, f: Binary, fx: Binary, fy: Binary): ReferenceOp {
  return {
    name,
    forward([x, y]) {
      const shape = broadcastShape(x.shape, y.shape);
      const [ix, iy] = [sourceIndices(x.shape, shape), sourceIndices(y.shape, shape)];
      return map(zeros(shape), (_, i) => f(x.data[ix[i]], y.data[iy[i]]));
    },
    vjp([x, y], _, cotangent) {
      const [ix, iy] = [sourceIndices(x.shape, cotangent.shape), sourceIndices(y.shape, cotangent.shape)];
      const [gradX, gradY] = [zeros(x.shape), zeros(y.shape)];
      cotangent.data.forEach((g, i) => {
        const [a, b] = [x.data[ix[i]], y.data[iy[i]]];
        gradX.data[ix[i]] += g * fx(a, b);
        gradY.data[iy[i]] += g * fy(a, b);
      });
      return [gradX, gradY];
    },
  };
}

export const add = binary(
  'add',
  (x, y) => x + y,
  () => 1,
  () => 1,
);
export const sub = binary(
  'sub',
  (x, y) => x - y,
  () => 1,
  () => -1,
);
export const mul = binary(
  'mul',
  (x, y) => x * y,
  (_, y) => y,
  (x) => x,
);
export const div = binary(
  'div',
  (x, y) => x / y,
  (_, y) => 1 / y,
  (x, y) => -x / (y * y),
);

/** f(x) and its derivative. */
function unary(name: string, f: (x: number) => number, df: (x: number) => number): ReferenceOp {
  return {
    name,
    forward: ([x]) => map(x, (value) => f(value)),
    vjp: ([x], _, cotangent) => [map(x, (value, i) => cotangent.data[i] * df(value))],
  };
}

export const neg = unary(
  'neg',
  (x) => -x,
  () => -1,
);
export const square = unary(
  'square',
  (x) => x * x,
  (x) => 2 * x,
);
export const sqrt = unary('sqrt', Math.sqrt, (x) => 0.5 / Math.sqrt(x));
export const exp = unary('exp', Math.exp, Math.exp);
export const log = unary('log', Math.log, (x) => 1 / x);
/** Derivative 0 at 0, as in PyTorch. */
export const abs = unary('abs', Math.abs, Math.sign);
export const reciprocal = unary(
  'reciprocal',
  (x) => 1 / x,
  (x) => -1 / (x * x),
);

const scaled = (x: NdArray, factor: number) => map(x, (value) => factor * value);

/** factor · x + offset. */
export const scale: ReferenceOp = {
  name: 'scale',
  forward: ([x], { factor, offset }: { factor: number; offset: number }) => map(x, (value) => factor * value + offset),
  vjp: (_, { factor }: { factor: number }, cotangent) => [scaled(cotangent, factor)],
};

/** a · x + b · y, equal shapes. */
export const axpby: ReferenceOp = {
  name: 'axpby',
  forward: ([x, y], { a, b }: { a: number; b: number }) => map(x, (value, i) => a * value + b * y.data[i]),
  vjp: (_, { a, b }: { a: number; b: number }, cotangent) => [scaled(cotangent, a), scaled(cotangent, b)],
};
