// Every op that the bench times and the playground takes, by name: its rows at a size. References as in test/reference, or of its parts.
import * as ops from '../../src/ops/index.ts';
import { reference } from '../../test/reference/index.ts';
import { map, type NdArray } from '../../test/reference/ndarray.ts';
import { convolutions } from './convolutions.ts';
import { field, image, noise } from './inputs.ts';
import { type Channels, depthFirst, type Family, forwardRow, gradientRow, named, type OpRow, shapeAt, shrunk } from './op-row.ts';
import { prepared, WINDOW } from './prepared.ts';
import type { Input } from './rows.ts';
import type { Size } from './sizes.ts';

/** σ of the Gaussian, in voxels. */
const SIGMA = 1;

interface Form extends Partial<Pick<OpRow, 'f' | 'expected' | 'workspace'>> {
  channels: Channels;
  inputs(size: Size, from: number): Input[];
  attrs?(size: Size): object;
  /** Inputs whose gradients are timed together, if any. */
  wanted?: readonly number[];
}

/** An op of test/reference, or one given by `f` and `expected`: forward, and its gradient where one is wanted. */
function plain(kernel: string, op: string, { channels: usual, inputs, attrs, wanted, ...rest }: Form): Family {
  return (size, channels = usual) => {
    const row: OpRow = { ...named(op), kernel, size, channels, inputs: inputs(size, channels[0]), attrs: attrs?.(size), ...rest };
    return [forwardRow(row), ...(wanted ? [gradientRow(row, wanted)] : [])];
  };
}

const one =
  (label: string, fill = noise) =>
  (size: Size, from: number) => [fill(label, shapeAt(size, from), 1)];
const two = (a: string, b: string) => (size: Size, from: number) => [a, b].map((label, i) => noise(label, shapeAt(size, from), i + 1));
const sampled = (size: Size, from: number) => [image('image', shapeAt(size, from), 1), field('u', shapeAt(size, 3), 2)];

/** v + u∘(id + v), by the reference of warp. */
const composed: Pick<OpRow, 'f' | 'expected'> = {
  f: ([u, v]) => ops.compose(u, v),
  expected: {
    forward: ([u, v]) => reference.add.forward([reference.warp.forward([u, v], {}), v], {}),
    vjp([u, v], _, dy) {
      const [du, dv] = reference.warp.vjp([u, v], {}, dy);
      return [du!, reference.add.forward([dv!, dy], {})];
    },
  },
};

/** limit · x/√(|x|² + ε²), |x|² over the three channels. */
const SOFT = { limit: 0.5, epsilon: 0.3 };
function overChannels(x: NdArray, y: NdArray): (i: number) => number {
  const spatial = x.data.length / 3;
  return (i) => [0, 1, 2].reduce((sum, c) => sum + x.data[(i % spatial) + c * spatial] * y.data[(i % spatial) + c * spatial], 0);
}
const softNormalize: Pick<OpRow, 'f' | 'expected'> = {
  f: ([x]) => ops.softNormalize(x, SOFT.limit, SOFT.epsilon),
  expected: {
    forward([x]) {
      const square = overChannels(x, x);
      return map(x, (v, i) => (SOFT.limit * v) / Math.sqrt(square(i) + SOFT.epsilon ** 2));
    },
    vjp([x], _, dy) {
      const [square, inner] = [overChannels(x, x), overChannels(x, dy)];
      const length = (i: number) => Math.sqrt(square(i) + SOFT.epsilon ** 2);
      return [map(x, (v, i) => SOFT.limit * (dy.data[i] / length(i) - (v * inner(i)) / length(i) ** 3))];
    },
  },
};

const LABELS = 30;
/** Channels 0…1. */
const overlapping = (size: Size, from: number) =>
  two('a', 'b')(size, from).map((input) => ({ ...input, values: () => input.values().map(Math.abs) }));
/** Whole numbers 0 … LABELS. */
const labelled = (size: Size): Input[] => {
  const { values, ...input } = noise('labels', shapeAt(size, 1), 1);
  return [{ ...input, values: () => values().map((x) => Math.floor(LABELS * Math.min(1, Math.abs(x)))) }];
};

const cases: [string, string, Form][] = [
  ['warp', 'warp', { channels: [1, 1], inputs: sampled, wanted: [1] }],
  ['warp-image', 'warp', { channels: [1, 1], inputs: sampled, wanted: [0] }],
  ['gaussian', 'gaussian', { channels: [3, 3], inputs: one('x'), attrs: () => ({ sigma: [SIGMA, SIGMA, SIGMA] }), wanted: [0] }],
  ['windowSum', 'windowSum', { channels: [1, 1], inputs: one('x'), attrs: () => ({ window: WINDOW }) }],
  ['resize-half', 'resize', { channels: [1, 1], inputs: one('x'), attrs: (size) => ({ size: shrunk(size) }), wanted: [0] }],
  [
    'resize-double',
    'resize',
    {
      channels: [32, 32],
      inputs: (size, from) => [noise('x', [1, from, ...shrunk(size)], 1)],
      attrs: (size) => ({ size: depthFirst(size) }),
      wanted: [0],
    },
  ],
  [
    'compose',
    'compose',
    { ...composed, channels: [3, 3], inputs: (size) => [field('u', shapeAt(size, 3), 1), field('v', shapeAt(size, 3), 2)], wanted: [1] },
  ],
  ['softNormalize', 'softNormalize', { ...softNormalize, channels: [3, 3], inputs: one('x'), wanted: [0] }],
  [
    'oneHot',
    'oneHot',
    { channels: [1, LABELS], inputs: labelled, attrs: () => ({ values: Array.from({ length: LABELS }, (_, k) => k + 1) }) },
  ],
  ['softDice', 'softDice', { channels: [LABELS, 1], inputs: overlapping, wanted: [1] }],
  [
    'intensityTransform',
    'intensityTransform',
    {
      channels: [1, 1],
      inputs: (size, from) => [
        image('x', shapeAt(size, from), 1),
        { label: 't', shape: [4], values: () => Float32Array.of(1.25, 0.875, 0.0625, 0.125), weights: true },
        noise('noise', shapeAt(size, from), 2),
      ],
    },
  ],
  ['diffusion', 'diffusion', { channels: [3, 1], inputs: one('u', field), attrs: () => ({ weights: [1, 1, 1] }), wanted: [0] }],
  ['jacobianDeterminant', 'jacobianDeterminant', { channels: [3, 1], inputs: one('u', field), wanted: [0] }],
  ['gradient', 'gradient', { channels: [1, 3], inputs: one('x'), wanted: [0] }],
  ['instanceNorm', 'instanceNorm', { channels: [16, 16], inputs: one('x'), wanted: [0] }],
  ['leakyRelu', 'leakyRelu', { channels: [16, 16], inputs: one('x'), wanted: [0] }],
  ['add', 'add', { channels: [3, 3], inputs: two('x', 'y') }],
  ['scale', 'scale', { channels: [3, 3], inputs: one('x'), attrs: () => ({ factor: 2, offset: 1 }) }],
  ['concat', 'concat', { channels: [1, 2], inputs: two('x', 'y') }],
  ['sumChannels', 'sumChannels', { channels: [3, 1], inputs: one('x') }],
  ['dot', 'dot', { channels: [3, 1], inputs: two('x', 'y') }],
  ['mean', 'mean', { channels: [3, 1], inputs: one('x'), wanted: [0] }],
];

export const families: Record<string, Family> = {
  ...convolutions,
  ...Object.fromEntries(cases.map(([kernel, op, form]) => [kernel, plain(kernel, op, form)])),
  ...prepared,
};
