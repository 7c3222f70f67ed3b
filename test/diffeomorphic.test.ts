// The non-diffeomorphic volume against tetrahedra that are cut from cubes and measured one by one.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { seededRandom } from '../src/ops/random.ts';
import { nonDiffeomorphicPercent } from '../src/register/diffeomorphic.ts';
import { jacobianStats } from '../src/register/metrics.ts';

type Size = readonly [number, number, number];
const field = ([W, H, D]: Size, at: (i: number, j: number, k: number) => readonly number[]) => {
  const n = W * H * D;
  const u = new Float32Array(3 * n);
  for (let v = 0; v < n; v++) at(v % W, Math.floor(v / W) % H, Math.floor(v / (W * H))).forEach((x, c) => (u[c * n + v] = x));
  return u;
};
const all = ([W, H, D]: Size) => new Uint8Array(W * H * D).fill(1);

test('none for the identity and for affine maps that keep orientation, all for a reflection', () => {
  const size = [5, 6, 7] as const;
  assert.is(nonDiffeomorphicPercent(field(size, () => [0, 0, 0]), size, all(size)), 0); // prettier-ignore
  const sheared = field(size, (i, j, k) => [0.7 * j - 0.4 * i, 0.9 * k, -0.5 * k + 2 * i]); // I + A of det 0.5 + …, positive
  assert.is(nonDiffeomorphicPercent(sheared, size, all(size)), 0);
  for (const axis of [0, 1, 2]) {
    const mirrored = field(size, (...p) => p.map((x, c) => (c === axis ? -2 * x : 0)));
    assert.ok(Math.abs(nonDiffeomorphicPercent(mirrored, size, all(size)) - 100) < 1e-4);
  }
});

test('what turns from voxel to voxel, and central differences do not see', () => {
  const size = [8, 8, 8] as const;
  const u = field(size, (i) => [i % 2 ? 0.8 : 0, 0, 0]); // steps of 1.8 and 0.2 voxels in turn …
  const v = field(size, (i) => [i % 2 ? 1.2 : 0, 0, 0]); // … and of 2.2 and −0.2
  assert.is(nonDiffeomorphicPercent(u, size, all(size)), 0);
  for (const w of [u, v]) assert.is(jacobianStats(w, size).grid.foldingPercent, 0);
  // Of ten tetrahedra those towards one side are turned: four of 0.2/12, and one of the two diagonal ones, of 0.4/12.
  const percent = nonDiffeomorphicPercent(v, size, all(size));
  assert.ok(Math.abs(percent - (100 * 6 * 0.2) / 12) < 1e-4, `${percent}`);
});

/** Signed volume of the tetrahedron of four points. */
const volumeOf = ([a, b, c, d]: number[][]) => {
  const [x, y, z] = [b, c, d].map((p) => p.map((value, axis) => value - a[axis])) as [number[], number[], number[]];
  return (x[0] * (y[1] * z[2] - y[2] * z[1]) - x[1] * (y[0] * z[2] - y[2] * z[0]) + x[2] * (y[0] * z[1] - y[1] * z[0])) / 6;
};

test('a rough field with a mask: the sum over tetrahedra, cut at each voxel from the cubes that meet there', () => {
  const size = [9, 8, 7] as const;
  const [W, H, D] = size;
  const n = W * H * D;
  for (const [seed, amplitude] of [
    [1, 0.6],
    [2, 1.5],
    [3, 0.35],
  ] as const) {
    const random = seededRandom(seed);
    const u = field(size, () => [0, 1, 2].map(() => amplitude * (2 * random() - 1)));
    const inside = Uint8Array.from({ length: n }, () => Number(random() < 0.6));
    const moved = (p: readonly number[]) => p.map((x, c) => x + u[c * n + (p[2] * H + p[1]) * W + p[0]]);
    let sum = 0,
      voxels = 0;
    for (let k = 1; k < D - 1; k++)
      for (let j = 1; j < H - 1; j++)
        for (let i = 1; i < W - 1; i++) {
          if (!inside[(k * H + j) * W + i]) continue;
          voxels++;
          const here = [i, j, k];
          const to = (...step: number[]) => here.map((x, axis) => x + step[axis]);
          const corners = [-1, 1].flatMap((a) => [-1, 1].flatMap((b) => [-1, 1].map((c) => [to(a, 0, 0), to(0, b, 0), to(0, 0, c)])));
          const diagonal = [1, -1].map((s) => [to(s, s, 0), to(0, s, s), to(s, 0, s)]);
          for (const three of [...corners, ...diagonal]) {
            const before = volumeOf([here, ...three]); // of the grid: its sign is the orientation of the corners as they are listed
            const after = volumeOf([here, ...three].map(moved)) * Math.sign(before);
            sum += after < 0 ? -after / 2 : 0;
          }
        }
    const expected = (100 * sum) / voxels;
    assert.ok(expected > 0.01, `${expected} %: a field without any says nothing`);
    assert.ok(Math.abs(nonDiffeomorphicPercent(u, size, inside) / expected - 1) < 1e-5, `${seed}`);
  }
});

test('no voxel with neighbours on all sides: no figure', () => {
  assert.ok(Number.isNaN(nonDiffeomorphicPercent(new Float32Array(3 * 5 * 5 * 2), [5, 5, 2], all([5, 5, 2]))));
});

test('what is no displacement of the grid has no figure', () => {
  const u = new Float32Array(3 * 6 * 5 * 4);
  const told = /^nonDiffeomorphicPercent: displacement of 360 values on a grid of 6×5×40; expected 3 × voxels = 3600$/;
  assert.throws(() => nonDiffeomorphicPercent(u, [6, 5, 40]), told);
  assert.throws(() => nonDiffeomorphicPercent(u, [6, 5, 4], new Uint8Array(3)), /3 voxels of `inside` on a grid of 6×5×4 = 120 voxels$/);
  u[6 * 5 + 6 + 2] = NaN;
  assert.ok(Number.isNaN(nonDiffeomorphicPercent(u, [6, 5, 4])));
});

test.run();
