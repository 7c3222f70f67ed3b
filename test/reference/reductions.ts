// Reductions of whole tensors to a scalar of shape [1].
import * as nd from './ndarray.ts';
import { map, scalar, type ReferenceOp } from './ndarray.ts';

export const sum: ReferenceOp = {
  name: 'sum',
  forward: ([x]) => scalar(nd.sum(x.data)),
  vjp: ([x], _, cotangent) => [map(x, () => cotangent.data[0])],
};

export const mean: ReferenceOp = {
  name: 'mean',
  forward: ([x]) => scalar(nd.mean(x.data)),
  vjp: ([x], _, cotangent) => [map(x, () => cotangent.data[0] / x.data.length)],
};

/** Σ x·y, equal shapes. */
export const dot: ReferenceOp = {
  name: 'dot',
  forward: ([x, y]) => scalar(nd.dot(x.data, y.data)),
  vjp: ([x, y], _, cotangent) => [map(y, (value) => cotangent.data[0] * value), map(x, (value) => cotangent.data[0] * value)],
};
