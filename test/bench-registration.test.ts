// The bench of registration without its peers: what they write on disk, in the project's conventions.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fieldOf, parseParameters } from '../bench/peers/elastix_transform.ts';
import { figuresOf, readField, warpedDifference } from '../bench/peers/field.ts';
import { command } from '../bench/peers/process.ts';
import { findings, means, pairTable } from '../bench/peers/report.ts';
import { flat, merged, rowsIn } from '../bench/peers/rows.ts';
import type { Row } from '../bench/registration.ts';
import { csv } from '../bench/report.ts';
import { type Affine, applyAffine, invertAffine } from '../src/io/affine.ts';
import type { Grid, Volume } from '../src/io/volume.ts';
import { makeNifti } from './io-make-nifti.ts';

// oblique and sheared by rounding, axes permuted, one flipped; steps of about 2, 1.5 and 3 mm
const FIXED: Grid = { size: [9, 8, 7], affine: [-1.9, 0.2, 0.6, 12, 0.3, -0.3, 2.9, -20, 0.5, 1.45, 0.3, 7] };
const MOVING: Grid = { size: [12, 11, 10], affine: [1.7, 0.1, -0.4, -1.2, -0.2, 1.8, 0.3, -20.4, 0.4, -0.2, 1.6, 6.6] };
const folder = mkdtempSync(join(tmpdir(), 'deqreg-peers-'));
test.after(() => rmSync(folder, { recursive: true }));

type Point = [number, number, number];
const voxels = ({ size: [w, h, d] }: Grid): Point[] =>
  Array.from({ length: w * h * d }, (_, p) => [p % w, Math.floor(p / w) % h, Math.floor(p / (w * h))]);
/** LPS mm of a voxel, written out: RAS with x and y negated. */
const lps = ({ affine: m }: Grid, [i, j, k]: Point): Point => [
  -(m[0] * i + m[1] * j + m[2] * k + m[3]),
  -(m[4] * i + m[5] * j + m[6] * k + m[7]),
  m[8] * i + m[9] * j + m[10] * k + m[11],
];
/** A map of space, LPS mm: what a registration would have found. */
const truth = ([x, y, z]: Point): Point => [1.05 * x + 0.1 * y - 2.1, 0.95 * y - 0.08 * z + 2.4, z + 0.05 * x - 0.4];

function write(name: string, extents: number[], intent: number, values: number[], affine: Affine): string {
  const path = join(folder, name);
  const { header } = makeNifti({ dim: extents, dtype: 'float32', values, intent, sform: { code: 1, rows: [...affine] } });
  writeFileSync(path, new Uint8Array(header));
  return path;
}

/** The field of `truth` as ITK writes it. */
const itkField = () => {
  const shifts = voxels(FIXED).map((p) => {
    const from = lps(FIXED, p);
    return truth(from).map((x, axis) => x - from[axis]);
  });
  const values = [0, 1, 2].flatMap((axis) => shifts.map((shift) => shift[axis]));
  return write('itk.nii', [...FIXED.size, 1, 3], 1007, values, FIXED.affine);
};

/** The voxel of a grid at a place in LPS mm. */
const voxelAt = ({ affine }: Grid, [x, y, z]: Point): Point => applyAffine(invertAffine(affine), [-x, -y, z]);

test('a field in LPS mm on an oblique, flipped grid leads where it says', async () => {
  const u = await readField(itkField(), FIXED);
  const n = u.length / 3;
  voxels(FIXED).forEach(([i, j, k], p) => {
    const to = lps(FIXED, [i + u[p], j + u[n + p], k + u[2 * n + p]]),
      wanted = truth(lps(FIXED, [i, j, k]));
    to.forEach((x, axis) => assert.ok(Math.abs(x - wanted[axis]) < 1e-4, `voxel ${p}, axis ${axis}: ${x}, not ${wanted[axis]}`));
  });
});

test('a field in voxels, as Learn2Reg and the twin of PyTorch write it, is taken as it is', async () => {
  const values = Array.from({ length: 3 * 504 }, (_, n) => Math.fround(Math.sin(n)));
  const u = await readField(write('voxels.nii', [...FIXED.size, 3], 0, values, FIXED.affine), FIXED);
  assert.equal([...u], values);
});

test('a field on another grid, and what is no field, are refused', async () => {
  const failing = (path: string, grid: Grid, what: RegExp) =>
    readField(path, grid).then(
      () => assert.unreachable(),
      (error) => assert.match((error as Error).message, what),
    );
  await failing(itkField(), { ...FIXED, affine: MOVING.affine }, /its grid is not that of the fixed image/);
  await failing(write('image.nii', [3, 3, 3], 0, Array(27).fill(1), FIXED.affine), FIXED, /not a displacement field/);
});

test('the figures of the true field: all labels overlap, all landmarks meet, nothing folds', async () => {
  // the moving labels are those of space; the fixed ones are what lies at truth(x)
  const labelAt = ([x, y, z]: Point) => (Math.hypot(x + 9, y - 10, z - 12) < 4 ? 1 : Math.hypot(x + 4, y - 12, z - 16) < 3.5 ? 2 : 0);
  const volume = (grid: Grid, values: number[]): Volume => ({ ...grid, data: Float32Array.from(values), dtype: 'float32' });
  const moving = volume(
    MOVING,
    voxels(MOVING).map((p) => labelAt(lps(MOVING, p))),
  );
  const nearest = (p: Point) => {
    const at = voxelAt(MOVING, truth(lps(FIXED, p))).map((x) => Math.floor(x + 0.5)) as Point;
    const inside = at.every((x, axis) => x >= 0 && x < MOVING.size[axis]);
    return inside ? moving.data[(at[2] * MOVING.size[1] + at[1]) * MOVING.size[0] + at[0]] : 0;
  };
  const fixed = volume(FIXED, voxels(FIXED).map(nearest));
  const marks: Point[] = [
    [3, 3, 3],
    [5, 4, 2],
    [4, 2, 4],
  ];
  const landmarks = {
    fixed: Float64Array.from(marks.flat()),
    moving: Float64Array.from(marks.flatMap((p) => voxelAt(MOVING, truth(lps(FIXED, p))))),
  };
  const inputs = {
    paths: { fixed: '', moving: '' },
    fixed,
    moving,
    segmentation: { fixed, moving, labels: [1, 2] },
    movingLabels: moving,
    landmarks,
    warnings: [],
  };
  const u = await readField(itkField(), FIXED);
  const figures = figuresOf(inputs, u);
  assert.is(figures.dice, 1);
  assert.is(figures.hd95, 0);
  assert.ok(figures.tre! < 1e-4, `TRE ${figures.tre}`);
  assert.ok(figures.treSd! < 1e-4 && figures.treBeforeSd! > 0.1, `TRE before ± ${figures.treBeforeSd}, after ± ${figures.treSd}`);
  assert.is(figures.folds, 0);
  assert.ok(figures.diceBefore! < 0.9, `before ${figures.diceBefore}`);
  const backwards = figuresOf(
    inputs,
    u.map((x) => -x),
  );
  assert.ok(backwards.dice! < figures.diceBefore! && backwards.tre! > figures.treBefore!, 'the wrong sign is worse than nothing');
});

test('a warped image that follows the field differs by nothing, and one that does not by something', async () => {
  const u = await readField(itkField(), FIXED);
  const linear = ([x, y, z]: Point) => 3 * x - 2 * y + z;
  const moving: Volume = { ...MOVING, data: Float32Array.from(voxels(MOVING), (p) => linear(lps(MOVING, p))), dtype: 'float32' };
  const warped = (shift: number): Volume => ({
    ...FIXED,
    data: Float32Array.from(voxels(FIXED), (p) => linear(truth(lps(FIXED, p))) + shift),
    dtype: 'float32',
  });
  assert.ok(warpedDifference(warped(0), u, FIXED, moving).max < 1e-3);
  assert.ok(warpedDifference(warped(1), u, FIXED, moving).mean > 0.5);
});

test('elastix’ parameter files: an affine transform, then cubic B-splines on a turned grid', async () => {
  const [c, s] = [0.8, 0.6];
  const affine = parseParameters(
    [
      '// a comment',
      '(Transform "AffineTransform")',
      '(TransformParameters 1.1 0 0.1 0 0.9 0 0 0.05 1 2 -1 0.5)',
      '(CenterOfRotationPoint 1 2 3)',
    ].join('\n'),
  );
  assert.equal(affine.Transform, ['AffineTransform']);
  // splines of a straight line are that line: the displacement is (a, b, c)·steps of the grid
  const size = [30, 32, 34];
  const slopes = [0.04, -0.03, 0.05];
  const coefficients = slopes.flatMap((slope, axis) =>
    Array.from({ length: size[0] * size[1] * size[2] }, (_, n) => {
      const at = [n % size[0], Math.floor(n / size[0]) % size[1], Math.floor(n / (size[0] * size[1]))];
      return slope * at[axis] + 0.1;
    }),
  );
  const spline = {
    Transform: ['BSplineTransform'],
    BSplineTransformSplineOrder: ['3'],
    GridSize: size.map(String),
    GridSpacing: ['3', '4', '2.5'],
    GridOrigin: ['-30', '-70', '-40'],
    GridDirection: [c, s, 0, -s, c, 0, 0, 0, 1].map(String), // column by column
    TransformParameters: coefficients.map(String),
  };
  const u = fieldOf([affine, spline], FIXED);
  const n = u.length / 3;
  let reached = 0;
  voxels(FIXED).forEach(([i, j, k], p) => {
    const [x, y, z] = lps(FIXED, [i, j, k]);
    const a: Point = [1.1 * (x - 1) + 0.1 * (z - 3) + 3, 0.9 * (y - 2) + 1, 0.05 * (y - 2) + (z - 3) + 3.5];
    const [dx, dy, dz] = [a[0] + 30, a[1] + 70, a[2] + 40];
    const steps = [(c * dx + s * dy) / 3, (-s * dx + c * dy) / 4, dz / 2.5];
    const reach = steps.every((step, axis) => step >= 1 && step < size[axis] - 2);
    if (reach) reached++;
    const wanted = a.map((value, axis) => value + (reach ? slopes[axis] * steps[axis] + 0.1 : 0));
    const to = lps(FIXED, [i + u[p], j + u[n + p], k + u[2 * n + p]]);
    to.forEach((value, axis) =>
      assert.ok(Math.abs(value - wanted[axis]) < 1e-4, `voxel ${p}, axis ${axis}: ${value}, not ${wanted[axis]}`),
    );
  });
  assert.ok(reached > n / 2, `the splines reach ${reached} of ${n} voxels`);
  assert.throws(() => fieldOf([{ Transform: ['EulerTransform'] }], FIXED), /EulerTransform/);
  assert.throws(() => fieldOf([{ ...spline, TransformParameters: ['1'] }], FIXED), /TransformParameters: 97920 numbers are needed, got 1/);
});

test('a command is timed, its memory seen, and its failure told', async () => {
  const script = 'const a = Buffer.alloc(2 ** 26, 1); setTimeout(() => console.log(a.length), 150)';
  const { stdout, seconds, peakMiB } = await command(process.execPath, ['-e', script]);
  assert.is(stdout.trim(), String(2 ** 26));
  assert.ok(seconds > 0.15);
  if (process.platform === 'linux') assert.ok(peakMiB! > 64, `${peakMiB} MiB`);
  for (const [program, what] of [
    [process.execPath, /exit code 3\nit broke/],
    ['no-such-program', /ENOENT/],
  ] as const)
    await command(program, ['-e', 'console.error("it broke"); process.exit(3)']).then(
      () => assert.unreachable(),
      (error) => assert.match((error as Error).message, what),
    );
});

test('what the report says of its rows: the best of each figure, the levels that converged, the time against each peer', () => {
  const row = (method: string, of: Partial<Row>): Row => ({ pair: 'lung', kind: 'lung', method, peer: false, share: 1, ...of });
  const rows = [
    row('equilibrium', { sdLogJ: 0.5, sdLogJLearn2Reg: 0.12, tre: 1.5, treSd: 1.1, solved: 3, converged: 2 }),
    row('adam', { sdLogJ: 0.4, sdLogJLearn2Reg: 0.13, tre: 1.4, treSd: 1.2, solved: 0, converged: 0 }),
    row('PyTorch', { peer: true, sdLogJ: 2, sdLogJLearn2Reg: 0.11, tre: 1.6, treSd: 1.3 }),
    row('PyTorch 8,4,2,1', { peer: true, sdLogJ: 3, sdLogJLearn2Reg: 0.14, tre: 1.7, treSd: 1.4 }),
  ];
  const turns = rows.filter(({ method }) => method !== 'adam').map(({ method, peer }, i) => ({ method, peer, seconds: [i + 1, i + 1] }));
  const [told] = findings(rows, turns, [], []) as [string];
  assert.match(told, /SDlogJ 0\.400 by adam \(best peer: PyTorch, 2\.000\); SDlogJ of Learn2Reg 0\.1100 by PyTorch\./);
  assert.match(told, /lung, levels of equilibrium that converged:\*\* 2 of 3\./);
  assert.match(told, /equilibrium against PyTorch:\*\* .*lower SDlogJ on 1 of 1, lower SDlogJ of Learn2Reg on 0 of 1\./);
  assert.match(told, /medians of 2 runs in turn:\*\* 0\.50 of PyTorch's, 0\.33 of PyTorch 8,4,2,1's\./);
  const [lines] = means(rows, true) as [string];
  assert.match(lines, /\| equilibrium \| 1 \| 1\.50 \| 0\.500 \| 0\.1200 \| 2 of 3 \|\n\| adam \| 1 \| 1\.40 \| 0\.400 \| 0\.1300 \|  \|/);
  assert.match(pairTable(rows).join('\n'), / 1\.50 ± 1\.10 /);
});

test('rows of a CSV are those that it was made of, and new ones take the place of theirs', () => {
  const figures = { folds: 0, ndv: 1e-4, sdLogJ: 0.5, sdLogJLearn2Reg: 0.1 };
  const row = (pair: string, method: string, more: Partial<Row> = {}): Row => ({
    pair,
    kind: 'brain',
    method,
    peer: false,
    share: 1,
    ...more,
  });
  const rows: Row[] = [
    row('a', 'ours', { ...figures, dice: 0.7, seconds: 1.5, iterations: [3, 4], residuals: [0.1, 1e-7], solved: 2, converged: 0 }),
    row('a', 'ours', { ...figures, share: 0.5 }),
    row('a', 'theirs', { peer: true, error: 'no file "x, y"' }),
  ];
  assert.equal(rowsIn(csv(rows.map(flat))), rows);
  const proved = {
    ...row('a', 'theirs', { ...figures, peer: true }),
    proof: { image: { mean: 0.2, max: 1 }, theirDice: 0.5, ourDice: 0.6 },
  };
  assert.equal(rowsIn(csv([flat(proved)]))[0].proof, { image: { mean: 0.2, max: NaN }, theirDice: 0.5, ourDice: 0.6 });
  const [better, other] = [row('a', 'ours', { dice: 0.8 }), row('b', 'ours')];
  assert.equal(merged(rows, [other, better]), [better, ...rows.slice(1), other]);
});

test.run();
