import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { applyAffine, type Affine } from '../src/io/affine.ts';
import { fromPhysical, toPhysical } from '../src/io/displacement.ts';
import type { Grid } from '../src/io/volume.ts';
import { messageOf, random } from './io-make-nifti.ts';

const A: Affine = [-2, 0, 0, 10, 0, 0, 3, -20, 0, -4, 0, 30]; // i: 2 mm to the left, j: 4 mm down, k: 3 mm forward
const GRID: Grid = { size: [2, 1, 1], affine: A };

test('toPhysical, by hand: LPS is RAS with x and y negated', () => {
  // voxel 0 moves by (1, 0, 0) = 2 mm left = LPS (2, 0, 0); voxel 1 by (0, 1, 2) = 4 mm down and 6 mm forward = LPS (0, −6, −4)
  assert.equal(
    [...toPhysical(Float32Array.of(1, 0, 0, 1, 0, 2), GRID)].map((v) => v + 0),
    [2, 0, 0, -6, 0, -4],
  );
});

test('toPhysical is the step from fixed point to moving point', () => {
  const oblique: Affine = [1.5, 0.2, -0.3, 4, -0.1, 2, 0.4, -5, 0.3, 0.1, 0.9, 6];
  const p = [3, 4, 5],
    u = [0.5, -1.25, 2];
  const from = applyAffine(oblique, p),
    to = applyAffine(
      oblique,
      p.map((v, n) => v + u[n]),
    );
  const physical = toPhysical(Float32Array.from(u), { size: [1, 1, 1], affine: oblique });
  [-1, -1, 1].forEach((sign, n) => assert.ok(Math.abs(physical[n] - sign * (to[n] - from[n])) < 1e-6));
});

test('fromPhysical is the inverse of toPhysical', () => {
  const next = random(3);
  const grid: Grid = { size: [3, 4, 5], affine: [1.5, 0.2, -0.3, 4, -0.1, 2, 0.4, -5, 0.3, 0.1, 0.9, 6] };
  const u = Float32Array.from({ length: 180 }, () => 10 * next() - 5);
  const back = fromPhysical(toPhysical(u, grid), grid);
  assert.is(back.length, 180);
  u.forEach((value, n) => assert.ok(Math.abs(back[n] - value) < 5e-6));
});

test('a field of another size is refused', async () => {
  assert.match(await messageOf(() => toPhysical(new Float32Array(5), GRID)), /displacement of a 2×1×1 grid has 6 values, got 5/);
  assert.match(await messageOf(() => fromPhysical(new Float32Array(7), GRID)), /got 7/);
});

test.run();
