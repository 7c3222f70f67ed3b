// Activations and their derivatives, as the textbooks write them.
import { map, type ReferenceOp } from './ndarray.ts';

/** f(x) and its derivative; `parameter` is the attribute that both take. */
function activation(
  name: string,
  f: (x: number, a: number) => number,
  df: (x: number, a: number) => number,
  parameter = '',
  standard = 0,
): ReferenceOp {
  const value = (attrs: any): number => attrs[parameter] ?? standard;
  return {
    name,
    forward: ([x], attrs) => map(x, (v) => f(v, value(attrs))),
    vjp: ([x], attrs, cotangent) => [map(x, (v, i) => cotangent.data[i] * df(v, value(attrs)))],
  };
}

const logistic = (x: number) => 1 / (1 + Math.exp(-x));

export const relu = activation(
  'relu',
  (x) => Math.max(x, 0),
  (x) => (x > 0 ? 1 : 0),
);
export const leakyRelu = activation(
  'leakyRelu',
  (x, slope) => (x > 0 ? x : slope * x),
  (x, slope) => (x > 0 ? 1 : slope),
  'slope',
  0.2,
);
export const elu = activation(
  'elu',
  (x, alpha) => (x > 0 ? x : alpha * Math.expm1(x)),
  (x, alpha) => (x > 0 ? 1 : alpha * Math.exp(x)),
  'alpha',
  1,
);
export const tanh = activation('tanh', Math.tanh, (x) => 1 / Math.cosh(x) ** 2);
export const sigmoid = activation('sigmoid', logistic, (x) => logistic(x) * logistic(-x));
