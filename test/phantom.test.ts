import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { applyAffine, type Vec3 } from '../src/io/affine.ts';
import { dice, jacobianStats, presentLabels, tre, warpLabels } from '../src/register/metrics.ts';
import { phantom, type Phantom } from '../src/register/phantom.ts';

const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
const kinds = ['brain', 'lung'] as const;
const size: Vec3 = [80, 96, 112];
const pairs = { brain: phantom('brain', size, 1), lung: phantom('lung', size, 1) };

const flat = ({ fixed, moving, fixedSeg, movingSeg, landmarks, displacement }: Phantom) => [
  fixed.data,
  moving.data,
  fixedSeg.data,
  movingSeg.data,
  landmarks.fixed,
  landmarks.moving,
  displacement,
];

const meanDifference = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, v) => sum + Math.abs(x - b[v]), 0) / a.length;

for (const kind of kinds) {
  const pair = pairs[kind];
  const u = pair.displacement,
    n = size[0] * size[1] * size[2];

  test(`${kind}: the seed decides all`, () => {
    const small: Vec3 = [20, 24, 28];
    const [a, b, c] = [3, 3, 4].map((seed) => flat(phantom(kind, small, seed)));
    a.forEach((values, part) => assert.equal(values, b[part]));
    a.forEach((values, part) => assert.not.equal(values, c[part], `part ${part}`));
  });

  test(`${kind}: grid, types and ranges`, () => {
    const { fixed, moving, fixedSeg, movingSeg } = pair;
    for (const volume of [fixed, moving, fixedSeg, movingSeg]) {
      assert.equal(volume.size, size);
      assert.is(volume.data.length, n);
      assert.ok(volume.data.every(Number.isInteger), 'integers, as the type on disk says');
      assert.ok(
        applyAffine(
          volume.affine,
          size.map((x) => (x - 1) / 2),
        ).every((x) => Math.abs(x) < 1e-9),
        'centred',
      );
    }
    const [low, high] = kind === 'brain' ? [0, 255] : [-1024, 3071];
    assert.ok(fixed.data.every((x) => x >= low && x <= high));
    assert.is(fixed.dtype, kind === 'brain' ? 'uint8' : 'int16');
    const direction = (axis: number) => [0, 4, 8].map((row) => fixed.affine[row + axis]);
    assert.equal(
      [0, 1, 2].map(direction),
      kind === 'brain'
        ? [
            [-2, 0, 0],
            [0, 0, -2],
            [0, 2, 0],
          ] // mm; left, inferior, anterior
        : [
            [-2, 0, 0],
            [0, -224 / 96, 0],
            [0, 0, 320 / 112],
          ],
    ); // left, posterior, superior
    const labels = kind === 'brain' ? [2, 3, 4, 7, 8, 10, 11, 12, 14, 16, 41, 42, 43, 46, 47, 49, 50, 51] : [1, 2, 3];
    assert.equal(presentLabels(fixedSeg.data, movingSeg.data), labels);
  });

  test(`${kind}: the displacement is a diffeomorphism that peaks at 5.5 % of the field of view`, () => {
    const { grid } = jacobianStats(u, size);
    assert.ok(grid.minJ > 0.2, `smallest determinant ${grid.minJ}`);
    let peak = 0;
    for (let v = 0; v < n; v++) peak = Math.max(peak, Math.hypot(...size.map((extent, c) => u[v + c * n] / extent)));
    assert.ok(Math.abs(peak - 0.055) < 1e-6, `peak ${peak}`);
  });

  test(`${kind}: the displacement takes moving onto fixed`, () => {
    const labels = presentLabels(pair.fixedSeg.data, pair.movingSeg.data);
    const warp = (image: Float32Array, field: Float32Array) => warpLabels(image, size, field, size, identity);
    const overlap = (field: Float32Array) => dice(pair.fixedSeg.data, warp(pair.movingSeg.data, field), labels).mean;
    const before = overlap(new Float32Array(3 * n)),
      after = overlap(u),
      reversed = overlap(u.map((x) => -x));
    // Nearest neighbour moves each boundary by up to half a voxel: structures two or three voxels thin cannot reach 1.
    const [low, high, aligned] = kind === 'brain' ? [0.3, 0.8, 0.88] : [0.7, 0.93, 0.97];
    assert.ok(before > low && before < high, `Dice before ${before}`);
    assert.ok(after > aligned, `Dice after ${after}`);
    assert.ok(reversed < before, `Dice with −u ${reversed}`);
    const [still, moved] = [pair.moving.data, warp(pair.moving.data, u)].map((image) => meanDifference(pair.fixed.data, image));
    assert.ok(moved < 0.6 * still, `mean intensity difference ${still} before, ${moved} after`);
  });

  test(`${kind}: labels agree wherever p + u(p) meets a moving voxel's centre`, () => {
    const warped = warpLabels(pair.movingSeg.data, size, u, size, identity);
    let met = 0,
      agree = 0;
    for (let v = 0; v < n; v++) {
      if (pair.fixedSeg.data[v] === 0 || [0, 1, 2].some((c) => Math.abs(u[v + c * n] - Math.round(u[v + c * n])) > 0.05)) continue;
      met++;
      if (warped[v] === pair.fixedSeg.data[v]) agree++;
    }
    assert.ok(met > 100 && agree / met > 0.97, `${agree} of ${met} voxels`);
  });

  test(`${kind}: landmarks are spread over the object and correspond`, () => {
    const { landmarks, fixedSeg, moving } = pair;
    assert.is(landmarks.fixed.length, 3 * 48);
    for (let m = 0; m < landmarks.fixed.length; m += 3) {
      const [w, h, d] = landmarks.fixed.subarray(m, m + 3);
      assert.ok(fixedSeg.data[(d * size[1] + h) * size[0] + w] > 0, 'inside');
    }
    for (let axis = 0; axis < 3; axis++) {
      const along = landmarks.fixed.filter((_, m) => m % 3 === axis);
      assert.ok(Math.max(...along) - Math.min(...along) > 0.45 * size[axis], `spread along axis ${axis}`);
    }
    assert.ok(tre(landmarks, null, size, identity, moving).mean > 2, 'mm before');
    assert.ok(tre(landmarks, u, size, identity, moving).max < 0.01, 'mm after');
  });
}

test('what cannot be made is refused', () => {
  assert.throws(() => phantom('heart' as 'lung', size, 1), /unknown kind heart; pass brain or lung/);
  assert.throws(() => phantom('lung', [80, 96, 8], 1), /size 80×96×8; pass at least 16 voxels/);
});

test.run();
