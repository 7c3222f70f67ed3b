// What the rows compute on: the same values every time, smooth where an image or a displacement is meant.
import type { Shape } from '../../src/index.ts';
import { numel } from '../../src/graph/graph.ts';
import { random } from '../../test/reference/ndarray.ts';
import type { Input } from './rows.ts';

/** Random values repeat after so many. */
const TABLE = 65521;

function noiseOf(shape: Shape, seed: number, low: number, high: number): Float32Array {
  const next = random(seed);
  const table = Float32Array.from({ length: Math.min(TABLE, numel(shape)) }, () => low + (high - low) * next());
  const values = new Float32Array(numel(shape));
  for (let from = 0; from < values.length; from += table.length) values.set(table.subarray(0, values.length - from), from);
  return values;
}

/** [N, C, D, H, W] of waves, a dozen voxels long, each channel's shifted, plus noise. */
function waves(shape: Shape, seed: number, amplitude: number, offset: number, rough: number): Float32Array {
  const [w, h] = [shape[4], shape[3]];
  const spatial = w * h * shape[2];
  const values = noiseOf(shape, seed, offset - rough, offset + rough);
  for (let i = 0; i < values.length; i++) {
    const channel = Math.floor(i / spatial),
      v = i % spatial;
    const [x, y, z] = [v % w, Math.floor(v / w) % h, Math.floor(v / (w * h))];
    values[i] += amplitude * Math.sin(0.5 * x + 0.37 * y + seed + 2 * channel) * Math.cos(0.43 * z - 0.2 * y + channel);
  }
  return values;
}

/** −1 … 1. */
export const noise = (label: string, shape: Shape, seed = 1): Input => ({ label, shape, values: () => noiseOf(shape, seed, -1, 1) });
/** Weights: small, so that sums of hundreds of products stay near 1; f32 in every row. */
export const weights = (label: string, shape: Shape, seed = 1): Input => ({
  label,
  shape,
  weights: true,
  values: () => noiseOf(shape, seed, -0.1, 0.1),
});
/** About 0 … 1. */
export const image = (label: string, shape: Shape, seed = 1): Input => ({
  label,
  shape,
  values: () => waves(shape, seed, 0.35, 0.5, 0.1),
});
/** A displacement, up to 2 voxels. */
export const field = (label: string, shape: Shape, seed = 1): Input => ({ label, shape, values: () => waves(shape, seed, 1.7, 0, 0.2) });
