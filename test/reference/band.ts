// Linear maps along one spatial axis, as banded matrices: separable filters, resampling and finite differences are all of this kind.
import { axes, sizeOf, zeros, type Axis, type NdArray } from './ndarray.ts';

/** One matrix row: output = Σ_k weights[k] · input[first + k]. */
export interface Row {
  first: number;
  weights: number[];
}

/** Row o is the output o of the axis. */
export type Band = Row[];

/** The matrix along one axis of x [N, C, D, H, W]. */
export function applyAlong(x: NdArray, axis: Axis, band: Band): NdArray {
  const dimension = 4 - axis;
  const n = x.shape[dimension];
  const stride = sizeOf(x.shape.slice(dimension + 1));
  const lines = sizeOf(x.shape.slice(0, dimension));
  const y = zeros(x.shape.with(dimension, band.length));
  for (let line = 0; line < lines; line++) {
    for (let o = 0; o < band.length; o++) {
      const { first, weights } = band[o];
      for (let k = 0; k < weights.length; k++) {
        for (let s = 0; s < stride; s++) {
          y.data[(line * band.length + o) * stride + s] += weights[k] * x.data[(line * n + first + k) * stride + s];
        }
      }
    }
  }
  return y;
}

/** The transposed matrix along one axis; n is the length of that axis in the result. */
export function applyTransposeAlong(y: NdArray, axis: Axis, band: Band, n: number): NdArray {
  const dimension = 4 - axis;
  const stride = sizeOf(y.shape.slice(dimension + 1));
  const lines = sizeOf(y.shape.slice(0, dimension));
  const x = zeros(y.shape.with(dimension, n));
  for (let line = 0; line < lines; line++) {
    for (let o = 0; o < band.length; o++) {
      const { first, weights } = band[o];
      for (let k = 0; k < weights.length; k++) {
        for (let s = 0; s < stride; s++) {
          x.data[(line * n + first + k) * stride + s] += weights[k] * y.data[(line * band.length + o) * stride + s];
        }
      }
    }
  }
  return x;
}

/** One band an axis, in the order (w, h, d). */
export function applySeparable(x: NdArray, bands: Band[]): NdArray {
  return axes.reduce((y, axis) => applyAlong(y, axis, bands[axis]), x);
}

/** The transpose of applySeparable for an input of the given shape. */
export function applySeparableTranspose(y: NdArray, bands: Band[], shape: number[]): NdArray {
  return axes.reduce((x, axis) => applyTransposeAlong(x, axis, bands[axis], shape[4 - axis]), y);
}

/** A window of ±radius around each of n voxels, cut at the ends; weight(k) at offset k. */
export function windowBand(n: number, radius: number, weight: (offset: number) => number): Band {
  return Array.from({ length: n }, (_, o) => {
    const first = Math.max(0, o - radius);
    const last = Math.min(n - 1, o + radius);
    return { first, weights: Array.from({ length: last - first + 1 }, (_, k) => weight(first + k - o)) };
  });
}

/** Each row divided by its own sum. */
export function normalised(band: Band): Band {
  return band.map(({ first, weights }) => {
    const total = weights.reduce((a, b) => a + b);
    return { first, weights: weights.map((w) => w / total) };
  });
}

/** Central differences, one-sided at both ends, zero along an axis of one voxel (numpy.gradient). Per voxel. */
export function centralDifferences(n: number): Band {
  if (n === 1) return [{ first: 0, weights: [0] }];
  return Array.from({ length: n }, (_, i) => {
    if (i === 0) return { first: 0, weights: [-1, 1] };
    if (i === n - 1) return { first: n - 2, weights: [-1, 1] };
    return { first: i - 1, weights: [-0.5, 0, 0.5] };
  });
}

/** x[i + 1] − x[i]: n − 1 rows. Per voxel. */
export function forwardDifferences(n: number): Band {
  return Array.from({ length: n - 1 }, (_, i) => ({ first: i, weights: [-1, 1] }));
}
