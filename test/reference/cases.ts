// One table of small, odd-sized inputs for every reference op, away from kinks; all values are exact float32 numbers.
import { convCases } from './conv3d.ts';
import { map, ndarray, random, uniform, zeros, type NdArray } from './ndarray.ts';
import { samplePosition, type WarpAttrs } from './warp.ts';

export interface Case {
  op: string;
  label: string;
  inputs: NdArray[];
  attrs: any;
  /** So many inputs, the first ones, have no gradient. */
  constants?: number;
}

/** Displacement up to ±reach voxels whose image positions stay 0.05 voxel away from voxel centres, where the trilinear slope jumps. */
export function awayFromFaces(shape: number[], seed: number, reach: number, attrs: WarpAttrs = {}): NdArray {
  const next = random(seed);
  const u = zeros(shape);
  const voxels = shape[2] * shape[3] * shape[4];
  for (let n = 0; n < shape[0]; n++) {
    for (let v = 0; v < voxels; v++) {
      do {
        for (let c = 0; c < 3; c++) u.data[(n * 3 + c) * voxels + v] = Math.fround(reach * (2 * next() - 1));
      } while (samplePosition(u, n, v, attrs).some((x) => Math.abs(x - Math.round(x)) < 0.05));
    }
  }
  return u;
}

/** Values of both signs with magnitude in [0.2, 1]. */
const awayFromZero = (shape: number[], seed: number) =>
  map(uniform(shape, seed), (x) => Math.fround(Math.sign(x) * (0.2 + 0.8 * Math.abs(x))));

const affine = { matrix: [0.9, 0.1, -0.05, 0.3, -0.2, 1.1, 0.15, -0.4, 0.05, -0.1, 0.8, 0.7].map(Math.fround) };
const [a, b] = [
  [1, 1, 3, 4, 5],
  [2, 1, 5, 3, 7],
];
const field = (seed: number, shape = [2, 3, 3, 4, 5]) => uniform(shape, seed);

const warpCases = (op: string): Case[] => [
  { op, label: 'inside', inputs: [uniform([1, 1, 3, 4, 5], 1), awayFromFaces([1, 3, 3, 4, 5], 2, 0.4)], attrs: {} },
  { op, label: 'clamped, N=2, C=2', inputs: [uniform([2, 2, 3, 4, 5], 3), awayFromFaces([2, 3, 3, 4, 5], 4, 3)], attrs: {} },
  { op, label: 'other size', inputs: [uniform([1, 2, 4, 3, 6], 5), awayFromFaces([1, 3, 5, 3, 7], 6, 1.5)], attrs: {} },
  { op, label: 'matrix', inputs: [uniform([2, 1, 4, 5, 3], 7), awayFromFaces([2, 3, 3, 4, 5], 8, 1, affine)], attrs: affine },
  { op, label: 'matrix, clamped', inputs: [uniform([1, 1, 2, 3, 2], 9), awayFromFaces([1, 3, 5, 3, 7], 10, 2, affine)], attrs: affine },
  { op, label: 'one slice', inputs: [uniform([1, 1, 1, 4, 5], 11), awayFromFaces([1, 3, 1, 4, 5], 12, 1.5)], attrs: {} },
  { op, label: 'W of fours, N=2', inputs: [uniform([2, 1, 4, 5, 3], 13), awayFromFaces([2, 3, 3, 7, 12], 14, 2, affine)], attrs: affine },
  { op, label: 'W of fours, C=2', inputs: [uniform([1, 2, 3, 3, 8], 15), awayFromFaces([1, 3, 3, 3, 8], 16, 2)], attrs: {} },
];

const sampleCase = (label: string, image: number[], u: NdArray, attrs: WarpAttrs = {}): Case => ({
  op: 'warpWithGradient',
  label,
  inputs: [uniform(image, 13), u],
  attrs,
  constants: 1,
});
const sampleCases = [
  sampleCase('inside', [1, 3, 4, 5, 4], awayFromFaces([1, 3, 3, 4, 5], 14, 0.4)),
  sampleCase('beyond, N=2', [2, 3, 4, 5, 4], awayFromFaces([2, 3, 3, 4, 5], 15, 3)),
  sampleCase('matrix, other size', [1, 4, 5, 3, 4], awayFromFaces([1, 3, 5, 3, 7], 16, 1, affine), affine),
  sampleCase('one slice', [1, 1, 4, 5, 4], awayFromFaces([1, 3, 1, 4, 5], 17, 1.5)),
];

const resizeCase = (label: string, shape: number[], size: number[]): Case => ({
  op: 'resize',
  label,
  inputs: [uniform(shape, 20)],
  attrs: { size },
});

const filterCases: Case[] = [
  resizeCase('enlarge', [2, 2, 3, 4, 5], [5, 8, 9]),
  resizeCase('reduce', [1, 1, 5, 6, 7], [2, 3, 4]),
  resizeCase('both', [2, 1, 5, 3, 7], [3, 7, 7]),
  resizeCase('to and from one voxel', [1, 2, 1, 4, 5], [3, 1, 5]),
  { op: 'gaussian', label: 'isotropic', inputs: [uniform(b, 30)], attrs: { sigma: [1, 1, 1] } },
  { op: 'gaussian', label: 'anisotropic, an axis untouched', inputs: [field(31)], attrs: { sigma: [0.7, 0, 1.6] } },
  { op: 'gaussian', label: 'wider than the volume, one slice', inputs: [uniform([1, 1, 1, 4, 5], 32)], attrs: { sigma: [2.5, 2.5, 2.5] } },
  { op: 'windowSum', label: '3', inputs: [uniform(b, 33)], attrs: { window: 3 } },
  { op: 'windowSum', label: 'anisotropic, N=2', inputs: [field(34)], attrs: { window: [5, 1, 3] } },
  { op: 'windowSum', label: 'wider than the volume, one slice', inputs: [uniform([1, 1, 1, 4, 5], 35)], attrs: { window: 9 } },
];

const images = (shape: number[], seed: number, low = 0, high = 1) => [uniform(shape, seed, low, high), uniform(shape, seed + 1, low, high)];
/** b follows a, as the images of a registration do; the gradient of independent ones is of rounding size in places. */
function forceCase(
  label: string,
  shape: number[],
  seed: number,
  attrs: { window: number | number[]; epsilon: number },
  masked = false,
): Case {
  const a = uniform(shape, seed, 0, 1);
  const b = map(uniform(shape, seed + 1, 0, 0.4), (x, i) => Math.fround(x + 0.6 * a.data[i]));
  const inputs = [a, b, uniform(shape.with(1, 3), seed + 2), ...(masked ? [uniform(shape, seed + 3, 0, 1)] : [])];
  return { op: 'lnccForce', label, inputs, attrs, constants: 1 };
}
const forceCases = [
  forceCase('3', a, 150, { window: 3, epsilon: 1e-3 }),
  forceCase('5, N=2', b, 154, { window: 5, epsilon: 1e-5 }),
  forceCase('anisotropic, weight', [2, 1, 5, 3, 7], 158, { window: [3, 5, 1], epsilon: 1e-3 }, true),
  forceCase('wider than the volume, one slice', [1, 1, 1, 4, 5], 162, { window: 9, epsilon: 1e-5 }),
];
const lossCases: Case[] = [
  { op: 'lncc', label: '3', inputs: images(a, 40), attrs: { window: 3, epsilon: 1e-3 } },
  { op: 'lncc', label: '5, N=2', inputs: images(b, 42), attrs: { window: 5, epsilon: 1e-5 } },
  { op: 'lncc', label: 'anisotropic', inputs: images([1, 1, 5, 3, 7], 44), attrs: { window: [3, 5, 1], epsilon: 1e-3 } },
  { op: 'lncc', label: 'wider than the volume, one slice', inputs: images([1, 1, 1, 4, 5], 46), attrs: { window: 9, epsilon: 1e-5 } },
  { op: 'lncc', label: 'raw intensities', inputs: images([1, 1, 5, 3, 7], 48, 998, 1002), attrs: { window: 5, epsilon: 1e-5 } },
  { op: 'ncc', label: 'one item', inputs: images(a, 50), attrs: { epsilon: 1e-5 } },
  { op: 'ncc', label: 'N=2, large ε', inputs: images(b, 52), attrs: { epsilon: 0.01 } },
  { op: 'mse', label: 'N=2', inputs: images(b, 54), attrs: {} },
  { op: 'diffusion', label: 'displacement', inputs: [field(56)], attrs: {} },
  { op: 'diffusion', label: 'weights', inputs: [field(57, [1, 3, 5, 3, 7])], attrs: { weights: [0.5, 2, 1.25] } },
  { op: 'diffusion', label: 'one slice', inputs: [field(58, [1, 3, 1, 4, 5])], attrs: {} },
];

/** Whole numbers 0 … largest. */
const labels = (shape: number[], seed: number, largest: number) => map(uniform(shape, seed, 0, largest + 1), Math.floor);
/** Channels 0…1; those of `absent` (n·C + c) are 0. */
function channels(shape: number[], seed: number, absent: number[] = []): NdArray {
  const voxels = shape[2] * shape[3] * shape[4];
  return map(uniform(shape, seed, 0, 1), (x, i) => (absent.includes(Math.floor(i / voxels)) ? 0 : x));
}
const labelCases: Case[] = [
  { op: 'oneHot', label: 'N=2', inputs: [labels([2, 1, 3, 4, 5], 170, 5)], attrs: { values: [1, 4, 2] }, constants: 1 },
  {
    op: 'oneHot',
    label: '64 labels',
    inputs: [labels(b.with(0, 1), 171, 70)],
    attrs: { values: Array.from({ length: 64 }, (_, k) => k + 1) },
    constants: 1,
  },
  {
    op: 'oneHot',
    label: 'negative and large',
    inputs: [map(labels(a, 172, 2), (x) => [-3, 0, 2 ** 24][x])],
    attrs: { values: [2 ** 24, -3] },
    constants: 1,
  },
  { op: 'softDice', label: 'N=2', inputs: [channels([2, 3, 3, 4, 5], 173), channels([2, 3, 3, 4, 5], 174)], attrs: {} },
  { op: 'softDice', label: 'large ε', inputs: [channels(b, 175), channels(b, 176)], attrs: { epsilon: 2 } },
  {
    op: 'softDice',
    label: 'labels absent in one or both',
    inputs: [channels([2, 3, 3, 4, 5], 177, [0, 4, 5]), channels([2, 3, 3, 4, 5], 178, [1, 4])],
    attrs: {},
  },
  { op: 'softDice', label: 'no label at all', inputs: [channels(a, 179, [0]), channels(a, 180)], attrs: {} },
  {
    op: 'softDice',
    label: 'more rows than a workgroup',
    inputs: [channels([2, 35, 1, 2, 3], 181, [3]), channels([2, 35, 1, 2, 3], 182)],
    attrs: {},
  },
];

/** Both signs, and 0. */
const signed = (shape: number[], seed: number) => map(uniform(shape, seed), (x, i) => (i % 7 ? x : 0));
const intensityCases: Case[] = [
  {
    op: 'intensityTransform',
    label: 'with noise, N=2',
    inputs: [signed(b, 190), ndarray([4], [1.25, 0.75, 0.125, 0.5]), uniform(b, 191)],
    attrs: {},
    constants: 3,
  },
  { op: 'intensityTransform', label: 'γ below 1', inputs: [signed(a, 192), ndarray([4], [0.75, 1.5, -0.25, 9])], attrs: {}, constants: 2 },
];

const derivativeCases: Case[] = ['gradient', 'jacobianDeterminant'].flatMap((op) => [
  { op, label: 'N=2', inputs: [field(60)], attrs: {} },
  { op, label: 'two voxels on an axis', inputs: [field(61, [1, 3, 2, 5, 3])], attrs: {} },
  { op, label: 'one slice', inputs: [field(62, [1, 3, 1, 4, 5])], attrs: {} },
]);

const broadcastPairs: [string, number[], number[]][] = [
  ['equal', [2, 2, 3, 4, 5], [2, 2, 3, 4, 5]],
  ['scalar first', [1], [2, 1, 3, 4, 5]],
  ['scalar second', [2, 1, 3, 4, 5], [1]],
  ['one channel first', [2, 1, 3, 4, 5], [2, 3, 3, 4, 5]],
  ['one channel second', [2, 3, 3, 4, 5], [2, 1, 3, 4, 5]],
  ['two scalars', [1], [1]],
];
const unaryOps: [string, (shape: number[], seed: number) => NdArray][] = [
  ['neg', uniform],
  ['square', uniform],
  ['exp', uniform],
  ['abs', awayFromZero],
  ['reciprocal', awayFromZero],
  ['sqrt', (shape, seed) => uniform(shape, seed, 0.2, 2)],
  ['log', (shape, seed) => uniform(shape, seed, 0.2, 2)],
];
const pointwiseCases: Case[] = [
  ...['add', 'sub', 'mul', 'div'].flatMap((op) =>
    broadcastPairs.map(([label, first, second], i) => ({
      op,
      label,
      inputs: [uniform(first, 70 + i), awayFromZero(second, 80 + i)],
      attrs: {},
    })),
  ),
  ...unaryOps.map(([op, make], i) => ({ op, label: 'N=2', inputs: [make([2, 2, 3, 4, 5], 90 + i)], attrs: {} })),
  { op: 'scale', label: 'N=2', inputs: [field(97)], attrs: { factor: -1.5, offset: 0.25 } },
  { op: 'axpby', label: 'N=2', inputs: [field(98), field(99)], attrs: { a: 0.75, b: -2 } },
];

const restCases: Case[] = [
  { op: 'concat', label: 'three', inputs: [field(100), field(101, [2, 1, 3, 4, 5]), field(102, [2, 2, 3, 4, 5])], attrs: {} },
  { op: 'slice', label: 'middle', inputs: [field(103, [2, 5, 3, 4, 5])], attrs: { start: 1, count: 3 } },
  ...['sum', 'mean', 'sumChannels'].map((op, i) => ({ op, label: 'N=2', inputs: [field(104 + i)], attrs: {} })),
  { op: 'dot', label: 'N=2', inputs: [field(108), field(109)], attrs: {} },
];

const channel = (count: number, seed: number) => uniform([count], seed, 0.5, 1.5);
const cellCases: Case[] = [
  { op: 'relu', label: 'N=2', inputs: [awayFromZero([2, 2, 3, 4, 5], 120)], attrs: {} },
  { op: 'leakyRelu', label: 'default slope', inputs: [awayFromZero([2, 2, 3, 4, 5], 121)], attrs: {} },
  { op: 'leakyRelu', label: 'slope 0.01', inputs: [awayFromZero([1, 3, 3, 4, 5], 122)], attrs: { slope: 0.01 } },
  { op: 'elu', label: 'N=2', inputs: [map(awayFromZero([2, 2, 3, 4, 5], 123), (x) => 4 * x)], attrs: {} },
  { op: 'elu', label: 'alpha 0.5, near 0', inputs: [map(awayFromZero([1, 3, 3, 4, 5], 124), (x) => x / 128)], attrs: { alpha: 0.5 } },
  { op: 'tanh', label: 'N=2', inputs: [uniform([2, 2, 3, 4, 5], 125, -4, 4)], attrs: {} },
  { op: 'tanh', label: 'near 0', inputs: [uniform([1, 3, 3, 4, 5], 126, -1e-3, 1e-3)], attrs: {} },
  { op: 'sigmoid', label: 'N=2', inputs: [uniform([2, 2, 3, 4, 5], 127, -8, 8)], attrs: {} },
  { op: 'instanceNorm', label: 'N=2', inputs: [field(128)], attrs: {} },
  { op: 'instanceNorm', label: 'affine, N=2', inputs: [field(129), channel(3, 130), field(131, [3])], attrs: { epsilon: 0.01 } },
  {
    op: 'instanceNorm',
    label: 'several workgroups',
    inputs: [uniform([1, 2, 3, 7, 11], 132), channel(2, 133), channel(2, 134)],
    attrs: {},
  },
  { op: 'instanceNorm', label: 'one slice', inputs: [uniform([2, 1, 1, 4, 5], 138)], attrs: {} },
  { op: 'weightNorm', label: 'g [Co]', inputs: [uniform([3, 2, 3, 3, 3], 139), uniform([3], 140)], attrs: {} },
  {
    op: 'weightNorm',
    label: 'g [Co, 1, 1, 1, 1], more than a workgroup',
    inputs: [uniform([2, 5, 3, 3, 3], 141), uniform([2, 1, 1, 1, 1], 142)],
    attrs: {},
  },
];

export const cases: Case[] = [
  ...warpCases('warp'),
  ...warpCases('warpNearest').map((item) => ({ ...item, constants: 2 })),
  ...sampleCases,
  ...filterCases,
  ...lossCases,
  ...labelCases,
  ...intensityCases,
  ...forceCases,
  ...derivativeCases,
  ...pointwiseCases,
  ...restCases,
  ...convCases,
  ...cellCases,
];
