import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { applyAffine, composeAffine, invertAffine, voxelSpacing, voxelToVoxel, type Affine } from '../src/io/affine.ts';
import { sameGrid, voxelCount, type Grid } from '../src/io/volume.ts';
import { messageOf } from './io-make-nifti.ts';

// i runs left in steps of 2 mm, j down in steps of 4 mm, k forward in steps of 3 mm.
const A: Affine = [-2, 0, 0, 10, 0, 0, 3, -20, 0, -4, 0, 30];
const near = (actual: readonly number[], expected: readonly number[]) => {
  assert.is(actual.length, expected.length);
  expected.forEach((value, n) => assert.ok(Math.abs(actual[n] - value) < 1e-12, `[${actual.join(', ')}] is not [${expected.join(', ')}]`));
};

test('applyAffine and voxelSpacing, by hand', () => {
  near(applyAffine(A, [1, 2, 3]), [8, -11, 22]);
  near(voxelSpacing(A), [2, 4, 3]);
  near(voxelSpacing([3, 0, 0, 7, 4, 0, 0, 8, 0, 12, 1, 9]), [5, 12, 1]);
});

test('invertAffine, by hand and as inverse', () => {
  near(invertAffine(A), [-0.5, 0, 0, 5, 0, 0, -0.25, 7.5, 0, 1 / 3, 0, 20 / 3]);
  const sheared: Affine = [1.5, 0.2, -0.3, 4, -0.1, 2, 0.4, -5, 0.3, 0.1, 0.9, 6];
  near(composeAffine(invertAffine(sheared), sheared), [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]);
  near(composeAffine(sheared, invertAffine(sheared)), [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]);
});

test('composeAffine(a, b) is a after b', () => {
  const b: Affine = [0, 1, 0, 1, 1, 0, 0, 2, 0, 0, 2, 3];
  near(applyAffine(composeAffine(A, b), [1, 2, 3]), applyAffine(A, applyAffine(b, [1, 2, 3])));
  near(applyAffine(composeAffine(A, b), [1, 2, 3]), [4, 7, 18]); // b gives (3, 3, 9)
});

test('voxelToVoxel maps the voxel of one grid to the voxel of the other at the same place', () => {
  const half: Affine = [-4, 0, 0, 9, 0, 0, 6, -18.5, 0, -8, 0, 28]; // twice the spacing, half a voxel in
  near(applyAffine(voxelToVoxel(half, A), [0, 0, 0]), [0.5, 0.5, 0.5]);
  near(applyAffine(voxelToVoxel(half, A), [3, 1, 2]), [6.5, 2.5, 4.5]);
  near(applyAffine(voxelToVoxel(A, half), [6.5, 2.5, 4.5]), [3, 1, 2]);
});

test('singular and non-finite affines are refused, tiny and large voxels are not', async () => {
  const bad: Affine[] = [
    Array(12).fill(0),
    [1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    [1, 1, 0, 0, 1, 1 + 1e-9, 0, 0, 0, 0, 1, 0],
    [1, 0, 0],
    [NaN, ...A.slice(1)],
  ];
  for (const affine of bad) assert.match(await messageOf(() => invertAffine(affine)), /^affine is (singular|not 12 finite numbers): \[/);
  assert.match(await messageOf(() => invertAffine([...A.slice(0, 3), Infinity, ...A.slice(4)])), /not 12 finite/);
  near(invertAffine([1e-4, 0, 0, 0, 0, 1e-4, 0, 0, 0, 0, 1e-4, 0]), [1e4, 0, 0, 0, 0, 1e4, 0, 0, 0, 0, 1e4, 0]);
});

test('sameGrid tolerates rounding, and nothing more', () => {
  const grid: Grid = { size: [100, 80, 60], affine: A };
  const moved = (entry: number, by: number): Grid => ({ ...grid, affine: A.map((value, n) => (n === entry ? value + by : value)) });
  assert.ok(sameGrid(grid, { ...grid }));
  assert.ok(sameGrid(grid, moved(3, 0.01)) && sameGrid(grid, moved(5, 1e-4)));
  assert.not.ok(sameGrid(grid, moved(3, 0.1)));
  for (const entry of [0, 1, 2]) assert.not.ok(sameGrid(grid, moved(entry, 1e-3))); // 0.1 mm at the far end
  assert.not.ok(sameGrid(grid, { ...grid, size: [100, 80, 61] }));
  assert.is(voxelCount(grid), 480000);
});

test.run();
