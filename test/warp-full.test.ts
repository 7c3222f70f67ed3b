// The result of a level at full resolution, in one pass, against float64.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Graph, type Matrix, Schedule, warpFull } from '../src/index.ts';
import { f32, gpu } from './gpu.ts';
import { relativeError, uniform } from './reference/ndarray.ts';

/** Trilinear, border clamped; x, y, z along W, H, D. */
function sample(data: ArrayLike<number>, [w, h, d]: readonly number[], [x, y, z]: readonly number[]): number {
  const split = (value: number, n: number) => {
    const at = Math.min(Math.max(value, 0), n - 1);
    const low = Math.min(Math.floor(at), Math.max(n - 2, 0));
    return [low, Math.min(low + 1, n - 1), at - low] as const;
  };
  const [xs, ys, zs] = [split(x, w), split(y, h), split(z, d)];
  let sum = 0;
  for (const [k, c] of [
    [zs[0], 1 - zs[2]],
    [zs[1], zs[2]],
  ] as const)
    for (const [j, b] of [
      [ys[0], 1 - ys[2]],
      [ys[1], ys[2]],
    ] as const)
      for (const [i, a] of [
        [xs[0], 1 - xs[2]],
        [xs[1], xs[2]],
      ] as const)
        sum += a * b * c * data[(k * h + j) * w + i];
  return sum;
}
const apply = (m: Matrix, [x, y, z]: readonly number[]) =>
  [0, 4, 8].map((row) => m[row] * x + m[row + 1] * y + m[row + 2] * z + m[row + 3]);

test('warpFull: the displacement on the full grid, what it warps, and what comes from beyond the image', async () => {
  const [level, full, from] = [
    [4, 5, 3],
    [7, 9, 8],
    [6, 8, 7],
  ] as const; // W, H, D
  const transform: Matrix = [1.05, 0.1, -0.05, 0.3, -0.08, 0.95, 0.07, -0.4, 0.02, -0.1, 1.1, 0.2];
  const matrix: Matrix = [0.9, 0, 0.1, -0.2, 0, 0.95, 0, 0.1, -0.05, 0, 0.85, 0.3];
  const shape = ([w, h, d]: readonly number[], c: number) => [1, c, d, h, w];
  const [v, image] = [uniform(shape(level, 3), 1, -0.8, 0.8), uniform(shape(from, 1), 2, 1, 2)];
  const graph = new Graph();
  const [vIn, imageIn] = [graph.input('v', v.shape), graph.input('image', image.shape)];
  const { displacement, warped } = graph.phase('all', () => warpFull(vIn, imageIn, [full[2], full[1], full[0]], transform, matrix, -7));
  [...displacement, warped].forEach((t) => graph.output(t));
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(vIn, f32(v));
  schedule.upload(imageIn, f32(image));
  schedule.run('all');
  const found = [];
  for (const t of [...displacement, warped]) found.push(await schedule.read(t));
  schedule.destroy();

  const expected = found.map(() => [] as number[]);
  const voxels = level[0] * level[1] * level[2];
  for (let d = 0; d < full[2]; d++)
    for (let h = 0; h < full[1]; h++)
      for (let w = 0; w < full[0]; w++) {
        const p = [w, h, d];
        const s = full.map((n, axis) => n / level[axis]);
        const at = p.map((x, axis) => (x + 0.5) / s[axis] - 0.5);
        const q = p.map((x, c) => x + s[c] * sample(v.data.subarray(c * voxels, (c + 1) * voxels), level, at));
        apply(transform, q).forEach((x, c) => expected[c].push(x - p[c]));
        const x = apply(matrix, q);
        const seen = x.every((value, axis) => value >= -0.5 && value <= from[axis] - 0.5);
        expected[3].push(seen ? sample(image.data, from, x) : -7);
      }
  const outside = expected[3].filter((x) => x === -7).length;
  assert.ok(outside > 20 && outside < expected[3].length / 2, `${outside} beyond`);
  found.forEach((values, n) => assert.ok(relativeError(values, expected[n]) < 1e-5, `${n}: ${relativeError(values, expected[n])}`));
});

test.run();
