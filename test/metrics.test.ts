import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Affine } from '../src/io/affine.ts';
import { dice, hd95, jacobianStats, presentLabels, tre, warpLabels } from '../src/register/metrics.ts';
import { seededRandom } from '../src/ops/random.ts';
import { dataFolder } from './data.ts';

type Size = [number, number, number];
const identity: Affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];

function near(actual: number, expected: number, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: ${actual}, expected ${expected} ± ${tolerance}`);
}

/** Values f(w, h, d) at each voxel. */
function fill<T extends Float32Array | Int32Array>(out: T, [W, H, D]: Size, f: (w: number, h: number, d: number) => number): T {
  for (let d = 0, v = 0; d < D; d++) for (let h = 0; h < H; h++) for (let w = 0; w < W; w++, v++) out[v] = f(w, h, d);
  return out;
}

const labelMap = (size: Size, f: (w: number, h: number, d: number) => number) => fill(new Int32Array(size[0] * size[1] * size[2]), size, f);

function displacement(size: Size, f: (w: number, h: number, d: number) => [number, number, number]): Float32Array {
  const n = size[0] * size[1] * size[2];
  const u = new Float32Array(3 * n);
  for (let c = 0; c < 3; c++) fill(u.subarray(c * n, (c + 1) * n), size, (w, h, d) => f(w, h, d)[c]);
  return u;
}

const cube = (from: number, to: number) => (w: number, h: number, d: number) => ([w, h, d].every((x) => x >= from && x < to) ? 1 : 0);

test('dice of shifted cubes', () => {
  const size: Size = [12, 12, 12];
  const fixed = labelMap(size, cube(2, 8));
  const warped = labelMap(size, (w, h, d) => cube(2, 8)(w - 2, h, d));
  assert.is(dice(fixed, warped, [1]).mean, 4 / 6);
  assert.equal(dice(fixed, fixed, [1]), { mean: 1, perLabel: { 1: 1 } });
  const second = fixed.map((x, v) => x || (v === 0 ? 7 : 0));
  assert.equal(dice(second, warped, [1, 7]), { mean: 1 / 3, perLabel: { 1: 4 / 6, 7: 0 } }, 'a label lost by the warp counts as 0');
  assert.throws(() => dice(fixed, new Int32Array(5), [1]), /1728 fixed and 5 warped/);
});

test('labels that count', () => {
  const fixed = Int32Array.of(0, 3, 1, 5, 2),
    moving = Int32Array.of(2, 1, 0, 3, 9);
  assert.equal(presentLabels(fixed, moving), [1, 2, 3]);
  assert.equal(presentLabels(fixed, moving, [3, 77, 2, 5]), [2, 3]);
  assert.throws(() => presentLabels(fixed, moving, [5, 9]), /none in common \(fixed 0 1 2 3 5; moving 0 1 2 3 9; wanted 5 9\)/);
});

test('warpLabels: nearest neighbour, 0 outside, both label types, through an affine', () => {
  const size: Size = [5, 4, 3];
  const labels = labelMap(size, (w, h, d) => 1 + w + 10 * h + 100 * d);
  const u = displacement(size, () => [1.5, -0.5, 0.49]);
  const warped = warpLabels(labels, size, u, size, identity);
  assert.equal(
    warped,
    labelMap(size, (w, h, d) => (w + 2 < 5 ? 1 + (w + 2) + 10 * h + 100 * d : 0)),
  );
  assert.instance(warpLabels(Float32Array.from(labels), size, u, size, identity), Float32Array);
  const fixedSize: Size = [3, 3, 2];
  const map: Affine = [0, 2, 0, -0.6, 1, 0, 0, 1, 0, 0, -1, 2]; // w = 2h − 0.6, h = w + 1, d = 2 − d
  assert.equal(
    warpLabels(labels, size, new Float32Array(54), fixedSize, map),
    labelMap(fixedSize, (w, h, d) => (h === 0 ? 0 : 1 + (2 * h - 1 + 0) + 10 * (w + 1) + 100 * (2 - d))),
  );
  assert.throws(() => warpLabels(labels, fixedSize, u, size, identity), /60 label voxels on a grid of 3×3×2 = 18/);
  assert.throws(() => warpLabels(labels, size, u, fixedSize, identity), /displacement of 180 values on a grid of 3×3×2; expected .* 54/);
});

/** HD95 by comparing every pair of surface voxels. */
function hd95ByPairs(a: Int32Array, b: Int32Array, label: number, size: Size, spacing: Size): number {
  const isInside = (p: number[]) => p.every((x, axis) => x >= 0 && x < size[axis]);
  const at = (map: Int32Array, p: number[]) => (isInside(p) ? map[(p[2] * size[1] + p[1]) * size[0] + p[0]] : -1);
  const surface = (map: Int32Array) => {
    const points: number[][] = [];
    fill(new Int32Array(map.length), size, (...p) => {
      const steps = [0, 1, 2].flatMap((axis) => [-1, 1].map((step) => p.map((x, n) => (n === axis ? x + step : x))));
      if (at(map, p) === label && steps.some((q) => at(map, q) !== label)) points.push(p);
      return 0;
    });
    return points;
  };
  const directed = (from: number[][], to: number[][]) => {
    const distance = (p: number[], q: number[]) => Math.hypot(...p.map((x, axis) => (x - q[axis]) * spacing[axis]));
    const nearest = from.map((p) => Math.min(...to.map((q) => distance(p, q))));
    return nearest.sort((x, y) => x - y)[Math.ceil(0.95 * nearest.length) - 1];
  };
  const sa = surface(a),
    sb = surface(b);
  return Math.max(directed(sa, sb), directed(sb, sa));
}

test('hd95 of spheres and of noise on anisotropic voxels equals the comparison of all pairs', () => {
  const size: Size = [21, 17, 11],
    spacing: Size = [1.25, 0.8, 3];
  const sphere = (cw: number, ch: number, cd: number, r: number) => (w: number, h: number, d: number) =>
    Math.hypot((w - cw) * spacing[0], (h - ch) * spacing[1], (d - cd) * spacing[2]) <= r ? 4 : 0;
  const spheres = [labelMap(size, sphere(9, 8, 5, 5.5)), labelMap(size, sphere(13, 6, 6, 8))];
  const scattered = [1, 2].map((seed) => labelMap(size, (w, h, d) => (Math.sin(seed * 31.7 * w + 17.3 * h + 7.1 * d * d) > 0.97 ? 4 : 0)));
  for (const [a, b] of [spheres, scattered]) {
    near(hd95(a, b, [4], size, spacing).mean, hd95ByPairs(a, b, 4, size, spacing), 1e-5, 'hd95 mm');
    assert.is(hd95(a, a, [4], size, spacing).mean, 0);
  }
});

test('hd95 of tiny maps, where borders matter and the percentile is the maximum', () => {
  const size: Size = [5, 4, 3],
    spacing: Size = [1.5, 1, 2];
  const random = seededRandom(1);
  for (let round = 0; round < 200; round++) {
    const [a, b] = [0, 1].map(() => {
      const low = size.map((n) => Math.floor(n * random())),
        high = size.map((n, axis) => low[axis] + Math.floor((n - low[axis]) * random()));
      return labelMap(size, (...p) => (p.every((x, axis) => x >= low[axis] && x <= high[axis]) ? 4 : 0));
    });
    near(hd95(a, b, [4], size, spacing).mean, hd95ByPairs(a, b, 4, size, spacing), 1e-5, `round ${round}, hd95 mm`);
  }
});

test("hd95: voxels on the volume's border are surface", () => {
  for (const holed of [0, 1]) {
    // all voxels of two layers are surface: 6 holes of 162 are below the percentile
    const size: Size = [2, 9, 9];
    const fixed = labelMap(size, () => 4);
    const warped = labelMap(size, (w, h, d) => (w === holed && h % 3 === 1 && d % 5 === 2 ? 0 : 4));
    assert.is(hd95(fixed, warped, [4], size, [1, 1, 1]).mean, 0);
  }
});

test('hd95: planes a known distance apart, absent label', () => {
  const size: Size = [9, 8, 7];
  const fixed = labelMap(size, (_w, _h, d) => (d === 1 ? 2 : 0));
  const warped = labelMap(size, (_w, _h, d) => (d === 4 ? 2 : d === 6 ? 3 : 0));
  assert.is(hd95(fixed, warped, [2], size, [1, 1, 8]).mean, 24);
  assert.equal(hd95(fixed, warped, [2, 3], size, [1, 1, 8]), { mean: Infinity, perLabel: { 2: 24, 3: Infinity } });
  assert.throws(() => hd95(fixed, warped, [2], [9, 8, 8], [1, 1, 1]), /504 fixed and 504 warped labels on a grid of 9×8×8 = 576/);
});

type Points = number[][];
const points = (fixed: Points, moving: Points) => ({ fixed: Float64Array.from(fixed.flat()), moving: Float64Array.from(moving.flat()) });

test('tre: mm by the moving affine, u sampled linearly', () => {
  const size: Size = [6, 5, 4];
  const moving = { size, affine: [0, 2, 0, 7, -3, 0, 0, 1, 0, 0, 4, 0] }; // 3, 2 and 4 mm along w, h, d
  const fixed = [
    [1, 2, 1],
    [2.5, 1.25, 2],
  ];
  const still = tre(
    points(fixed, [
      [2, 2, 1],
      [2.5, 3.25, 3],
    ]),
    null,
    size,
    identity,
    moving,
  );
  assert.equal([...still.perLandmark], [3, Math.hypot(4, 4)]);
  near(still.mean, (3 + Math.hypot(4, 4)) / 2, 1e-12, 'mean');
  near(still.sd, (Math.hypot(4, 4) - 3) / 2, 1e-12, 'sd');
  assert.is(still.max, Math.hypot(4, 4));
  const u = displacement(size, (w, h, d) => [0.5 * w - 0.25 * h, 0.25 * d + 0.5, 0.25 * w]);
  const mapped = fixed.map(([w, h, d]) => [w + 0.5 * w - 0.25 * h, h + 0.25 * d + 0.5, d + 0.25 * w]);
  assert.is(tre(points(fixed, mapped), u, size, identity, moving).max, 0);
  const shifted: Affine = [1, 0, 0, 0.5, 0, 1, 0, 0, 0, 0, 1, 0];
  assert.is(tre(points(fixed, mapped), u, size, shifted, moving).mean, 1.5);
  const edge = tre(points([[-0.4, 0, 3.4]], [[-0.4, 0.5 + 0.75, 3.4]]), u, size, identity, moving);
  near(edge.mean, 0, 1e-12, 'beyond the outermost voxel centres u is clamped');
});

test('tre: landmarks off the grid are named', () => {
  const size: Size = [6, 5, 4];
  const score = (fixed: Points, moving: Points) => () => tre(points(fixed, moving), null, size, identity, { size, affine: identity });
  const message = /fixed landmark 2 \(1, 4.6, 1\) lies outside the grid of 6×5×4 voxels/;
  assert.throws(
    score(
      [
        [1, 1, 1],
        [1, 4.6, 1],
      ],
      [
        [1, 1, 1],
        [1, 1, 1],
      ],
    ),
    message,
  );
  assert.throws(score([[1, 1, 1]], [[1, NaN, 1]]), /moving landmark 1/);
  assert.throws(score([[1, 1, 1]], []), /1 fixed and 0 moving/);
});

test('jacobianStats: a linear displacement has one determinant', () => {
  const size: Size = [7, 6, 5];
  // I + ∇u = [[1.5, 0.25, 0], [0, 0.75, 0.5], [-0.25, 0, 1.25]]
  const u = displacement(size, (w, h, d) => [0.5 * w + 0.25 * h, -0.25 * h + 0.5 * d, -0.25 * w + 0.25 * d]);
  const { grid } = jacobianStats(u, size);
  near(grid.minJ, 1.5 * 0.75 * 1.25 + 0.25 * 0.5 * -0.25, 1e-6, 'det');
  near(grid.sdLogJ, 0, 1e-6, 'sdLogJ');
  assert.is(grid.foldingPercent, 0);
  assert.is(
    jacobianStats(
      displacement(size, (w) => [-2 * w, 0, 0]),
      size,
    ).grid.foldingPercent,
    100,
    'mirrored',
  );
  assert.is(
    jacobianStats(
      displacement([7, 6, 1], () => [0, 0, 9]),
      [7, 6, 1],
    ).grid.minJ,
    1,
    'an axis of one voxel',
  );
});

test('jacobianStats: folding, deviations and mask of a map along one axis', () => {
  const size: Size = [6, 3, 3];
  const line = [0, 0, 2, 0, 0, 1]; // u(w): numpy.gradient = [0, 1, 0, −1, 0.5, 1], det = 1 + that
  const dets = [1, 2, 1, 0, 1.5, 2];
  const u = displacement(size, (w) => [line[w], 0, 0]);
  const mask = Uint8Array.from(labelMap(size, (w) => (w < 3 ? 5 : 0)));
  const stats = jacobianStats(u, size, mask);
  const sd = (x: number[]) => Math.sqrt(x.reduce((s, y) => s + y * y, 0) / x.length - (x.reduce((s, y) => s + y, 0) / x.length) ** 2);
  near(stats.grid.foldingPercent, 100 / 6, 1e-12, 'folding %');
  near(stats.grid.sdLogJ, sd(dets.map((x) => Math.log(Math.max(x, 1e-9)))), 1e-9, 'sdLogJ');
  near(stats.grid.sdLogJLearn2Reg, sd(dets.map((x) => Math.log(x + 3))), 1e-9, 'sdLogJLearn2Reg');
  assert.is(stats.grid.minJ, 0);
  assert.is(stats.mask.foldingPercent, 0);
  near(stats.mask.sdLogJ, sd([0, Math.log(2), 0]), 1e-9, 'sdLogJ in the mask');
  assert.is(stats.mask.minJ, 1);
  assert.equal(Object.keys(jacobianStats(u, size)), ['grid'], 'no mask, no figures of a mask');
  assert.throws(() => jacobianStats(u, size, new Uint8Array(54)), /empty mask/);
  assert.throws(() => jacobianStats(u, size, new Uint8Array(5)), /5 mask voxels on a grid of 6×3×3 = 54/);
  assert.ok(Object.values(jacobianStats(u.with(7, NaN), size).grid).every(Number.isNaN), 'no figure of what is no number');
});

const data = `${dataFolder}/brain/`;
if (!existsSync(data)) console.log(`metrics.test: skipped the brain pair, no folder ${data}`);
else
  test('brain pair: figures of numpy and scipy', () => {
    const size: Size = [160, 192, 224];
    const read = (name: string) => Float32Array.from(gunzipSync(readFileSync(`${data}${name}_seg.nii.gz`)).subarray(352)); // uint8
    const fixed = read('subA'),
      moving = read('subB');
    const wanted = [2, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 28, 31, 41, 42, 43, 46, 47, 49, 50, 51, 52, 53, 54, 60, 63];
    const labels = presentLabels(fixed, moving, wanted);
    assert.equal(labels, wanted);
    near(dice(fixed, moving, labels).mean, 0.5224082564829987, 1e-12, 'Dice');
    near(hd95(fixed, moving, labels, size, [1, 1, 1]).mean, 5.110602402286958, 1e-6, 'HD95 mm');
  });

test.run();
