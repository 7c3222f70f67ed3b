// Rows of the convolutions: 3³ in the ways that the cells use it, 1³ and 5³.
import { conv3d } from '../../src/index.ts';
import { reference } from '../../test/reference/index.ts';
import type { NdArray } from '../../test/reference/ndarray.ts';
import { noise, weights } from './inputs.ts';
import { type Channels, type Family, forwardRow, gradientRow, named, type OpRow, shapeAt } from './op-row.ts';

/** Two volumes, the channels of the first twice those of the second, as the `deqreg` cell joins them. */
const joined: Pick<OpRow, 'f' | 'expected'> = {
  f: ([x, w, b, z], attrs) => conv3d([x, z], w, b, attrs),
  expected: {
    forward: ([x, w, b, z], attrs) => reference.conv3d.forward([reference.concat.forward([x, z], {}), w, b], attrs),
    vjp([x, w, b, z]: NdArray[], attrs, dy) {
      const both = reference.concat.forward([x, z], {});
      const [dx, dw, db] = reference.conv3d.vjp([both, w, b], attrs, dy);
      const [first, second] = reference.concat.vjp([x, z], {}, dx!);
      return [first!, dw!, db!, second!];
    },
  },
};

interface Form {
  k?: number;
  stride?: 1 | 2;
  padding?: 'zero' | 'replicate';
  joins?: boolean;
}

/** Forward with bias and leaky ReLU, which cost no pass; gradients without the activation's own pass. */
function convolution(kernel: string, usual: Channels, { k = 3, stride = 1, padding = 'zero', joins = false }: Form = {}): Family {
  return (size, channels = usual, dtype = 'f32') => {
    const [from, to] = channels;
    const first = joins ? (2 * from) / 3 : from;
    const inputs = [noise('x', shapeAt(size, first), 1), weights('w', [to, from, k, k, k], 2), weights('b', [to], 3)];
    if (joins) inputs.push(noise('z', shapeAt(size, from - first), 4));
    const voxels = size.reduce((product, n) => product * Math.ceil(n / stride), 1);
    const row: OpRow = {
      ...(joins ? joined : named('conv3d')),
      kernel,
      size,
      channels,
      dtype,
      inputs,
      attrs: { stride, padding },
      flop: 2 * from * to * k ** 3 * voxels,
    };
    return [
      forwardRow({ ...row, attrs: { ...row.attrs, activation: 'leakyRelu' } }),
      gradientRow(row, joins ? [0, 3] : [0], 'dx'),
      gradientRow(row, [1], 'dw'),
    ];
  };
}

export const convolutions: Record<string, Family> = {
  conv3d: convolution('conv3d', [16, 16]),
  'conv3d-stride2': convolution('conv3d-stride2', [16, 32], { stride: 2 }),
  'conv3d-joined': convolution('conv3d-joined', [48, 16], { joins: true }),
  'conv3d-replicate': convolution('conv3d-replicate', [16, 16], { padding: 'replicate' }),
  'conv3d-1': convolution('conv3d-1', [16, 16], { k: 1 }),
  'conv3d-5': convolution('conv3d-5', [16, 16], { k: 5 }),
};
