// Label maps as channels, and their overlap.
import { dot, map, scalar, sizeOf, zeros, type NdArray, type ReferenceOp } from './ndarray.ts';

/** labels [N, 1, D, H, W] → [N, values.length, D, H, W]: 1 where the label is the channel's. */
export const oneHot: ReferenceOp = {
  name: 'oneHot',
  forward([labels], { values }: { values: number[] }) {
    const voxels = sizeOf(labels.shape.slice(2));
    const y = zeros(labels.shape.with(1, values.length));
    labels.data.forEach((label, i) => {
      const [n, s] = [Math.floor(i / voxels), i % voxels];
      const k = values.indexOf(label);
      if (k >= 0) y.data[(n * values.length + k) * voxels + s] = 1;
    });
    return y;
  },
  vjp: () => [null],
};

/** Σab, Σa² and Σb² of every channel (n, c). */
function channelSums(a: NdArray, b: NdArray) {
  const voxels = sizeOf(a.shape.slice(2));
  return Array.from({ length: a.shape[0] * a.shape[1] }, (_, i) => {
    const [p, q] = [a, b].map(({ data }) => data.subarray(i * voxels, (i + 1) * voxels));
    return { ab: dot(p, q), aa: dot(p, p), bb: dot(q, q) };
  });
}

/** Mean over the channels with Σa² > ε of 1 − 2Σab/(Σa² + Σb² + ε); 0 where there is none. */
export const softDice: ReferenceOp = {
  name: 'softDice',
  forward([a, b], { epsilon = 1e-5 }: { epsilon?: number }) {
    const losses = channelSums(a, b)
      .filter(({ aa }) => aa > epsilon)
      .map(({ ab, aa, bb }) => 1 - (2 * ab) / (aa + bb + epsilon));
    return scalar(losses.reduce((sum, x) => sum + x, 0) / Math.max(1, losses.length));
  },
  vjp([a, b], { epsilon = 1e-5 }: { epsilon?: number }, cotangent) {
    const voxels = sizeOf(a.shape.slice(2));
    const sums = channelSums(a, b);
    const each = cotangent.data[0] / Math.max(1, sums.filter(({ aa }) => aa > epsilon).length);
    const slope = (x: number, other: number, { ab, aa, bb }: { ab: number; aa: number; bb: number }) => {
      const q = aa + bb + epsilon;
      return aa > epsilon ? each * ((-2 * other) / q + (4 * ab * x) / q ** 2) : 0;
    };
    const rowOf = (i: number) => sums[Math.floor(i / voxels)];
    return [map(a, (x, i) => slope(x, b.data[i], rowOf(i))), map(b, (x, i) => slope(x, a.data[i], rowOf(i)))];
  },
};
