// Rows of what the general table does not say: ops with something prepared before they run, with a state, or with several outputs.
import { numel, type Tensor } from '../../src/graph/graph.ts';
import { adam, adamState, anderson, andersonState, ema, gaussianField, resetAdam, resetAnderson, vjp } from '../../src/index.ts';
import * as ops from '../../src/ops/index.ts';
import { reference } from '../../test/reference/index.ts';
import { type NdArray, ndarray, zeros } from '../../test/reference/ndarray.ts';
import { adamStep } from '../../test/reference/steps.ts';
import { field, image, noise } from './inputs.ts';
import { depthFirst, type Family, shapeAt, shrunk } from './op-row.ts';
import type { Input, Row } from './rows.ts';
import type { Size } from './sizes.ts';

/** Window of LNCC and of window sums, in voxels. */
export const WINDOW = 9;
const LNCC = { window: WINDOW, epsilon: ops.LNCC_EPSILON };
/** Of Anderson's history. */
const HISTORY = 5;

const images = (size: Size): Input[] => [image('a', shapeAt(size, 1), 1), image('b', shapeAt(size, 1), 1.6)];

/** LNCC with the fixed image's statistics there already: the value, and the value with the gradient for the moving one. */
const lncc: Family = (size) => {
  const row = { kernel: 'lncc', size, channels: [1, 1], dtype: 'f32', inputs: images(size), workspace: true } as const;
  const prepare = ([a]: Tensor[]) => ops.localStatistics(a, WINDOW);
  const value = ([, b]: Tensor[], fixed: ops.Statistics) => ops.lncc(fixed, b, WINDOW);
  return [
    { ...row, pass: 'forward', prepare, run: (xs, fixed) => [value(xs, fixed)], reference: (xs) => [reference.lncc.forward(xs, LNCC)] },
    {
      ...row,
      pass: 'dx',
      prepare,
      run(xs, fixed) {
        const y = value(xs, fixed);
        return [y, ...ops.grad(y, [xs[1]])];
      },
      reference: (xs) => [reference.lncc.forward(xs, LNCC), reference.lncc.vjp(xs, LNCC, ndarray([1], [1]))[1]!],
    },
  ];
};

/** The force, and its gradients for the warped image and the image gradient. */
const lnccForce: Family = (size) => {
  const inputs = [...images(size), noise('gradient', shapeAt(size, 3), 3)];
  const row = { kernel: 'lnccForce', size, channels: [1, 3], dtype: 'f32', workspace: true } as const;
  const prepare = ([a, b]: Tensor[]) => ({ fixed: ops.localStatistics(a, WINDOW), b: ops.centre(b) });
  return [
    {
      ...row,
      pass: 'forward',
      inputs,
      prepare,
      run: ([, , gradient], { fixed, b }) => [ops.lnccForce(fixed, b, gradient).force],
      reference: (xs) => [reference.lnccForce.forward(xs, LNCC)],
    },
    {
      ...row,
      pass: 'dx',
      inputs: [...inputs, noise('dy', shapeAt(size, 3), 9)],
      prepare,
      run: ([, , gradient, dy], { fixed, b }) => vjp([ops.lnccForce(fixed, b, gradient).force], [dy], [b, gradient]),
      reference: ([a, b, gradient, dy]) => reference.lnccForce.vjp([a, b, gradient], LNCC, dy).slice(1) as NdArray[],
    },
  ];
};

const single = (row: Omit<Row, 'pass' | 'dtype'>): Row[] => [{ pass: 'forward', dtype: 'f32', ...row }];

/** The image (beside its gradient) and the derivative of it by u, both; the gradient for u of both. */
const warpWithGradient: Family = (size) => {
  const sampled = reference.warpWithGradient;
  const inputs = [noise('image', [1, ...depthFirst(size), 4], 1), field('u', shapeAt(size, 3), 2)];
  const row = { kernel: 'warpWithGradient', size, channels: [1, 4], dtype: 'f32' } as const;
  const sample = ([x, u]: Tensor[]) => {
    const { warped, gradient } = ops.warpWithGradient(x, u);
    return [warped, gradient];
  };
  return [
    {
      ...row,
      pass: 'forward',
      inputs,
      run: sample,
      reference(xs) {
        const y = sampled.forward(xs, {});
        return [
          [0, 1],
          [1, 3],
        ].map(([start, count]) => reference.slice.forward([y], { start, count }));
      },
    },
    {
      ...row,
      pass: 'dx',
      inputs: [...inputs, noise('dwarped', shapeAt(size, 1), 8), noise('dgradient', shapeAt(size, 3), 9)],
      run: ([x, u, ...dy]) => vjp(sample([x, u]), dy, [u]),
      reference: ([x, u, ...dy]) => [sampled.vjp([x, u], {}, reference.concat.forward(dy, {}))[1]!],
    },
  ];
};

/** One step with the history full. Read: f, z, 4 older residuals, 5 values; written: a value, a residual, z, and best where it improves. */
const andersonStep: Family = (size, channels = [3, 3]) => {
  const f = noise('f', shapeAt(size, channels[0]), 1);
  return single({
    kernel: 'anderson',
    size,
    channels,
    inputs: [f],
    prepare([x]) {
      const state = andersonState(x.graph.variable('z', x.shape), HISTORY);
      ops.reset(state.z);
      resetAnderson(state);
      return state;
    },
    run([x], state) {
      anderson(state, x, { window: HISTORY, beta: 1, ridge: 1e-3 });
      return [state.z];
    },
    bytes: (2 + 2 * HISTORY - 1 + 4) * 4 * numel(f.shape),
    warmUps: HISTORY,
  });
};

const adamRow: Family = (size, channels = [3, 3]) =>
  single({
    kernel: 'adam',
    size,
    channels,
    inputs: [noise('g', shapeAt(size, channels[0]), 1)],
    prepare([g]) {
      const state = adamState(g.graph.variable('p', g.shape));
      ops.reset(state.parameter);
      resetAdam(state);
      return state;
    },
    run([g], state) {
      adam(state, g, { rate: 0.1 });
      return [state.parameter];
    },
    reference([g]) {
      const start = () => zeros(g.shape).data;
      const rule = { t: 1, lr: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
      return [ndarray(g.shape, adamStep({ p: start(), m: start(), v: start(), g: g.data, ...rule }).p)];
    },
  });

export const prepared: Record<string, Family> = {
  lncc,
  lnccForce,
  warpWithGradient,
  anderson: andersonStep,
  adam: adamRow,
  localStatistics: (size) =>
    single({
      kernel: 'localStatistics',
      size,
      channels: [1, 2],
      inputs: [image('x', shapeAt(size, 1))],
      workspace: true,
      run: ([x]) => [ops.localStatistics(x, WINDOW).statistics],
    }),
  withGradient: (size) =>
    single({
      kernel: 'withGradient',
      size,
      channels: [1, 4],
      inputs: [image('x', shapeAt(size, 1))],
      run: ([x]) => [ops.withGradient(x)],
    }),
  warpFull: (size) =>
    single({
      kernel: 'warpFull',
      size,
      channels: [3, 4],
      inputs: [field('v', [1, 3, ...shrunk(size)]), image('image', shapeAt(size, 1))],
      run([v, x]) {
        const { displacement, warped } = ops.warpFull(v, x, depthFirst(size), ops.identity, ops.identity, 0);
        return [...displacement, warped];
      },
    }),
  // A field that changes by tenths of a voxel from voxel to voxel, as those of registrations do.
  inverse: (size) =>
    single({
      kernel: 'inverse',
      size,
      channels: [3, 6],
      inputs: [field('u', shapeAt(size, 3))],
      prepare: ([u]) => ops.split(ops.scale(u, 0.25), [1, 1, 1]) as [Tensor, Tensor, Tensor],
      run(_, components) {
        const { v, residual } = ops.inverse(components, depthFirst(size), ops.identity, { tolerance: 0.005, iterations: 40 });
        return [v, residual];
      },
    }),
  affineField: (size) =>
    single({
      kernel: 'affineField',
      size,
      channels: [3, 3],
      inputs: [noise('matrix', [12])],
      run: ([m]) => [ops.affineField(m, depthFirst(size))],
    }),
  'affineField-matrix': (size) =>
    single({
      kernel: 'affineField-matrix',
      size,
      channels: [3, 3],
      inputs: [noise('matrix', [12]), noise('dy', shapeAt(size, 3))],
      run: ([m, dy]) => vjp([ops.affineField(m, depthFirst(size))], [dy], [m]),
    }),
  gaussianField: (size) =>
    single({
      kernel: 'gaussianField',
      size,
      channels: [3, 3],
      inputs: [{ label: 'seed', shape: [1], values: () => new Float32Array(1) }],
      run: ([seed]) => [gaussianField(seed, shapeAt(size, 3))],
    }),
  narrow: (size) =>
    single({ kernel: 'narrow', size, channels: [16, 16], inputs: [noise('x', shapeAt(size, 16))], run: ([x]) => [ops.cast(x, 'f16')] }),
  widen: (size) =>
    single({
      kernel: 'widen',
      size,
      channels: [16, 16],
      inputs: [noise('x', shapeAt(size, 16))],
      prepare: ([x]) => ops.cast(x, 'f16'),
      run: (_, x) => [ops.cast(x, 'f32')],
    }),
  ema: (size) =>
    single({
      kernel: 'ema',
      size,
      channels: [3, 3],
      inputs: [noise('x', shapeAt(size, 3))],
      prepare([x]) {
        const average = x.graph.variable('average', x.shape);
        ops.reset(average);
        return average;
      },
      run([x], average) {
        ema(average, x, 0.99);
        return [average];
      },
    }),
};
