// Ops along the channel axis of [N, C, D, H, W].
import { sizeOf, zeros, type NdArray, type ReferenceOp } from './ndarray.ts';

/** Copies `count` channels of `from`, starting at `start`, to `to`, starting at `at`, for every batch item. */
function copyChannels(from: NdArray, start: number, to: NdArray, at: number, count: number): void {
  const voxels = sizeOf(from.shape.slice(2));
  for (let n = 0; n < from.shape[0]; n++) {
    const first = (n * from.shape[1] + start) * voxels;
    to.data.set(from.data.subarray(first, first + count * voxels), (n * to.shape[1] + at) * voxels);
  }
}

export const concat: ReferenceOp = {
  name: 'concat',
  forward(xs) {
    const out = zeros(
      xs[0].shape.with(
        1,
        xs.reduce((total, x) => total + x.shape[1], 0),
      ),
    );
    let at = 0;
    for (const x of xs) {
      copyChannels(x, 0, out, at, x.shape[1]);
      at += x.shape[1];
    }
    return out;
  },
  vjp(xs, _, cotangent) {
    let at = 0;
    return xs.map((x) => {
      const grad = zeros(x.shape);
      copyChannels(cotangent, at, grad, 0, x.shape[1]);
      at += x.shape[1];
      return grad;
    });
  },
};

/** Channels start … start + count − 1. */
export const slice: ReferenceOp = {
  name: 'slice',
  forward([x], { start, count }: { start: number; count: number }) {
    const out = zeros(x.shape.with(1, count));
    copyChannels(x, start, out, 0, count);
    return out;
  },
  vjp([x], { start, count }: { start: number; count: number }, cotangent) {
    const grad = zeros(x.shape);
    copyChannels(cotangent, 0, grad, start, count);
    return [grad];
  },
};

/** → [N, 1, D, H, W]. */
export const sumChannels: ReferenceOp = {
  name: 'sumChannels',
  forward([x]) {
    const [, channels, ...size] = x.shape;
    const voxels = sizeOf(size);
    const out = zeros(x.shape.with(1, 1));
    x.data.forEach((value, i) => {
      out.data[Math.floor(i / (channels * voxels)) * voxels + (i % voxels)] += value;
    });
    return out;
  },
  vjp([x], _, cotangent) {
    const [, channels, ...size] = x.shape;
    const voxels = sizeOf(size);
    const grad = zeros(x.shape);
    grad.data.forEach((_, i) => {
      grad.data[i] = cotangent.data[Math.floor(i / (channels * voxels)) * voxels + (i % voxels)];
    });
    return [grad];
  },
};
