// Rows of an op that the engine and the float64 reference both have: forward, and the gradients for some of its inputs.
import type { DType } from '../../src/graph/graph.ts';
import { Graph, type Shape, type Tensor, vjp } from '../../src/index.ts';
import { gpuOps } from '../../test/gpu-ops.ts';
import { reference } from '../../test/reference/index.ts';
import type { ReferenceOp } from '../../test/reference/ndarray.ts';
import { noise } from './inputs.ts';
import type { Row } from './rows.ts';
import type { Size } from './sizes.ts';

export type Channels = readonly [number, number];
/** The rows of an op at a size; `channels` are those that go in and come out. */
export type Family = (size: Size, channels?: Channels, dtype?: DType) => Row[];

/** What rows of one op share. `f` and `expected` are the engine's op and its reference. */
export interface OpRow extends Omit<Row, 'pass' | 'dtype' | 'run' | 'reference'> {
  dtype?: DType;
  f: (xs: Tensor[], attrs: any) => Tensor;
  expected: Pick<ReferenceOp, 'forward' | 'vjp'>;
  attrs?: any;
}

export const shapeAt = ([w, h, d]: Size, channels: number): Shape => [1, channels, d, h, w];

/** The size [D, H, W], and half of it. */
export const depthFirst = ([w, h, d]: Size): [number, number, number] => [d, h, w];
export const shrunk = ([w, h, d]: Size): [number, number, number] => [Math.ceil(d / 2), Math.ceil(h / 2), Math.ceil(w / 2)];

/** An op under its name in test/reference. */
export const named = (op: string): Pick<OpRow, 'f' | 'expected'> => ({ f: gpuOps[op], expected: reference[op] });

export function forwardRow({ f, expected, attrs = {}, ...row }: OpRow): Row {
  return { pass: 'forward', dtype: 'f32', run: (xs) => [f(xs, attrs)], reference: (xs) => [expected.forward(xs, attrs)], ...row };
}

/** The gradients for the inputs in `wanted`, together; the cotangent is one more input. */
export function gradientRow({ f, expected, attrs = {}, ...row }: OpRow, wanted: readonly number[], pass: 'dx' | 'dw' = 'dx'): Row {
  const graph = new Graph();
  const { shape } = graph.phase('shape', () =>
    f(
      row.inputs.map((x) => graph.input(x.label, x.shape)),
      attrs,
    ),
  );
  return {
    pass,
    dtype: 'f32',
    run: ([...xs]) => {
      const dy = xs.pop()!;
      return vjp(
        [f(xs, attrs)],
        [dy],
        wanted.map((i) => xs[i]),
      );
    },
    reference: ([...xs]) => {
      const dy = xs.pop()!;
      const gradients = expected.vjp(xs, attrs, dy);
      return wanted.map((i) => gradients[i]!);
    },
    ...row,
    inputs: [...row.inputs, noise('dy', shape, 9)],
  };
}
