// Ops beyond the small cases: rows in fours, lines of several runs, more values than a workgroup takes, and positions exactly on voxels,
// borders and halves; as launched for a CPU and for a GPU.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { warp } from '../src/index.ts';
import { gaussianField } from '../src/ops/noise.ts';
import { againstReference } from './against-reference.ts';
import { evaluate } from './gpu.ts';
import { reference } from './reference/index.ts';
import { dot, map, type NdArray, ndarray, norm, uniform } from './reference/ndarray.ts';

/** Multiples of a half, in voxels: positions on voxels and exactly between them, in the image and beyond. */
const halves = (shape: number[], seed: number, step: 0.5 | 1) => map(uniform(shape, seed, -3, 3), (x) => step * Math.round(x / step));
/** Next to nothing in one channel, less than ε of softDice squared and summed, and something in the other. */
const faint = (seed: number) => map(uniform([1, 2, 3, 4, 5], seed, 0, 1), (x, i) => Math.fround(i < 60 ? 1e-4 * x : x));

const cases: [op: string, label: string, inputs: NdArray[], attrs: object][] = [
  ['gaussian', 'rows of fours, N=2, C=2', [uniform([2, 2, 5, 7, 12], 1)], { sigma: [1.3, 0.7, 1] }],
  ['gaussian', 'rows of fours, wider than the volume', [uniform([1, 1, 2, 3, 8], 2)], { sigma: [3, 2, 1] }],
  ['gaussian', 'rows of fours, several workgroups', [uniform([1, 1, 3, 5, 276], 3)], { sigma: [2, 0, 0] }],
  ['resize', 'rows of fours, smaller', [uniform([2, 2, 5, 9, 16], 4)], { size: [3, 4, 8] }],
  ['resize', 'rows of fours, larger', [uniform([2, 1, 3, 4, 8], 5)], { size: [7, 9, 12] }],
  ['resize', 'rows of fours, H alone', [uniform([1, 2, 3, 9, 8], 6)], { size: [3, 5, 8] }],
  ['diffusion', 'several runs along D, N=2', [uniform([2, 3, 37, 3, 5], 7)], { weights: [0.5, 2, 1.25] }],
  ['windowSum', 'a last run shorter than the radius', [uniform([1, 1, 33, 34, 35], 8)], { window: [9, 7, 5] }],
  ['sum', 'several workgroups', [uniform([1, 3, 19, 11, 13], 9, 0, 1)], {}],
  ['dot', 'several workgroups', [uniform([1, 3, 19, 11, 13], 10, 0, 1), uniform([1, 3, 19, 11, 13], 11, 0, 1)], {}],
  ['instanceNorm', 'many workgroups', [uniform([1, 2, 19, 17, 23], 12), uniform([2], 13), uniform([2], 14)], {}],
  ['softDice', 'a label of next to nothing', [faint(15), faint(16)], {}],
  ['warp', 'on voxels, and on the border', [uniform([2, 2, 4, 5, 6], 17), halves([2, 3, 4, 5, 6], 18, 1)], {}],
  ['warp', 'nothing moves', [uniform([1, 1, 4, 5, 6], 19), ndarray([1, 3, 4, 5, 6], new Float64Array(360))], {}],
  ['warpNearest', 'halves', [uniform([2, 2, 4, 5, 6], 20), halves([2, 3, 4, 5, 6], 21, 0.5)], {}],
  ['jacobianDeterminant', 'N=2, steep', [uniform([2, 3, 5, 6, 7], 22, -2, 2)], {}],
];

for (const [op, label, inputs, attrs] of cases) test(`${op}: ${label}`, () => againstReference(op, inputs, attrs));

test('warp in the image: sums that are whole, of either sign, and 0 where they cancel', async () => {
  const shape = [1, 1, 4, 5, 6];
  const u = map(uniform([1, 3, ...shape.slice(2)], 30), () => 0);
  const image = uniform(shape, 31);
  const gather = [1, 2, 4, 8, 16]; // voxels that are sent to the first one
  for (const [count, sign] of gather.flatMap((count) => [1, -1].map((sign) => [count, sign] as const))) {
    const still = map(u, (_, i) => {
      const [axis, v] = [Math.floor(i / 120), i % 120];
      const place = [v % 6, Math.floor(v / 6) % 5, Math.floor(v / 30)];
      return v < count ? -place[axis] : 0;
    });
    const dy = map(image, () => sign);
    const { grads } = await evaluate(([x, u]) => warp(x, u), [image, still], dy, [true, false]);
    assert.equal([...grads[0]!], [...reference.warp.vjp([image, still], {}, dy)[0]!.data], `${count} times ${sign}`);
  }
});

test('a cotangent that is not a number is not lost', async () => {
  const [image, u] = [uniform([1, 1, 5, 6, 7], 32), uniform([1, 3, 5, 6, 7], 33)];
  const dy = map(image, (_, i) => (i === 100 ? NaN : 1));
  const { grads } = await evaluate(([x, u]) => warp(x, u), [image, u], dy, [true, false]);
  assert.ok(grads[0]!.some(Number.isNaN));
});

test('noise of neighbouring seeds has nothing in common, shifted or not', async () => {
  const shape = [1, 1, 8, 16, 32];
  const of = async (seed: number) => (await evaluate(([seed]) => gaussianField(seed, shape), [ndarray([1], [seed])])).y;
  const [a, b] = [await of(7), await of(8)];
  const n = a.length;
  for (let shift = -40; shift <= 40; shift++) {
    const [from, to] = [Math.max(0, -shift), Math.min(n, n - shift)];
    const [x, y] = [a.slice(from, to), b.slice(from + shift, to + shift)];
    const correlation = dot(x, y) / (norm(x) * norm(y));
    assert.ok(Math.abs(correlation) < 5 / Math.sqrt(n), `shift ${shift}: ${correlation}`);
  }
});

test.run();
