// Dense float64 arrays, row-major (last axis fastest), and what the reference ops and their tests share.

export interface NdArray {
  shape: number[];
  data: Float64Array;
}

/** One tensor op in float64. `vjp` returns one gradient an input; null where the op is not differentiable in that input. */
export interface ReferenceOp {
  name: string;
  forward(inputs: NdArray[], attrs: any): NdArray;
  vjp(inputs: NdArray[], attrs: any, cotangent: NdArray): (NdArray | null)[];
}

/** A spatial axis in the order of displacement channels: 0 = w, 1 = h, 2 = d; it is dimension 4 − axis of [N, C, D, H, W]. */
export type Axis = 0 | 1 | 2;
export const axes: readonly Axis[] = [0, 1, 2];

export const sizeOf = (shape: number[]) => shape.reduce((product, n) => product * n, 1);

export function zeros(shape: number[]): NdArray {
  return { shape: [...shape], data: new Float64Array(sizeOf(shape)) };
}

export function ndarray(shape: number[], values: ArrayLike<number>): NdArray {
  if (values.length !== sizeOf(shape)) throw new Error(`ndarray: ${values.length} values for shape [${shape}]`);
  return { shape: [...shape], data: Float64Array.from(values) };
}

export const scalar = (value: number): NdArray => ndarray([1], [value]);

/** Elementwise f(value, flat index). */
export function map(x: NdArray, f: (value: number, i: number) => number): NdArray {
  return { shape: [...x.shape], data: x.data.map(f) };
}

export function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

export const mean = (values: ArrayLike<number>) => sum(values) / values.length;

export function dot(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < x.length; i++) total += x[i] * y[i];
  return total;
}

export const norm = (x: ArrayLike<number>) => Math.sqrt(dot(x, x));

/** Norm-wise relative error ‖actual − expected‖ / ‖expected‖ (absolute where the expected array is zero). */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new Error(`relativeError: ${actual.length} values against ${expected.length}`);
  let squares = 0;
  for (let i = 0; i < actual.length; i++) squares += (actual[i] - expected[i]) ** 2;
  return Math.sqrt(squares) / (norm(expected) || 1);
}

/** Seeded uniform numbers in [0, 1) (mulberry32). */
export function random(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Seeded uniform values in [low, high), each exactly a float32, so that a GPU gets the very same input. */
export function uniform(shape: number[], seed: number, low = -1, high = 1): NdArray {
  const next = random(seed);
  return map(zeros(shape), () => Math.fround(low + (high - low) * next()));
}
