// The figures of metrics.json against the library's own, for inputs that differ in everything that they may: grids, spacings, masks,
// labels; and what of them is told.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkInputs, checkWhole, type Contents } from '../src/cli/inputs.ts';
import { labelsWarpedBy, quality, report, speaksAgainst } from '../src/cli/metrics.ts';
import { readInputs } from '../src/cli/read-inputs.ts';
import { type Affine, applyAffine, composeAffine, invertAffine } from '../src/io/affine.ts';
import { encodeNifti } from '../src/io/nifti.ts';
import type { Volume } from '../src/io/volume.ts';
import { nonDiffeomorphicPercent } from '../src/register/diffeomorphic.ts';
import { dice, hd95, jacobianStats, type TargetError, tre } from '../src/register/metrics.ts';
import type { Registration } from '../src/register/register.ts';
import { seededRandom } from '../src/ops/random.ts';

type Size = [number, number, number];
const [W, H, D]: Size = [14, 12, 10];
const fixedAffine: Affine = [1, 0, 0, 3, 0, 1.5, 0, -2, 0, 0, 4, 1];
/** The same place in space, axes in another order, 16 × 20 × 9 voxels. */
const movingAffine: Affine = [0, 0, 1.8, 2, 1.2, 0, 0, -3, 0, 2, 0, 0];
const movingSize: Size = [16, 20, 9];

const volume = (
  size: Size,
  affine: Affine,
  value: (i: number, j: number, k: number) => number,
  dtype: Volume['dtype'] = 'float32',
): Volume => {
  const data = new Float32Array(size[0] * size[1] * size[2]);
  for (let k = 0, v = 0; k < size[2]; k++) for (let j = 0; j < size[1]; j++) for (let i = 0; i < size[0]; i++) data[v++] = value(i, j, k);
  return { size, affine, data, dtype };
};
const random = seededRandom(3);
const inBox = (p: readonly number[], low: number[], high: number[]) => p.every((x, a) => x >= low[a] && x <= high[a]);
/** Labels by where a voxel is in space: boxes in mm. */
const labelled = (size: Size, affine: Affine, shift: number) =>
  volume(size, affine, (...p) => {
    const at = applyAffine(affine, p).map((x) => x - shift);
    return inBox(at, [4, -1, 4], [9, 7, 20]) ? 1 : inBox(at, [10, 2, 8], [15, 12, 32]) ? 2 : 0;
  });
const contents: Contents = {
  fixed: volume([W, H, D], fixedAffine, () => 100 * random()),
  moving: volume(movingSize, movingAffine, () => 50 * random()),
  fixedSeg: labelled([W, H, D], fixedAffine, 0),
  movingSeg: labelled(movingSize, movingAffine, 1.5),
  landmarks: { fixed: Float64Array.of(3, 4, 5, 8, 2, 6), moving: Float64Array.of(6, 8, 3, 2, 9, 5) },
};
const names = { fixed: 'f', moving: 'm', fixedSeg: 'fs', movingSeg: 'ms', landmarks: 'l' };

/** Folds in the lower slices, none above. */
const displacement = new Float32Array(3 * W * H * D).map((_, i) => {
  const k = Math.floor((i % (W * H * D)) / (W * H));
  return (k < 4 ? 2 : 0.2) * (random() - 0.5) + 0.3;
});
const registration = {
  displacement,
  intensities: { fixed: { modality: 'mri', low: 0, high: 100 }, moving: { modality: 'mri', low: 0, high: 50 } },
  similarity: { before: 0.1, after: 0.5 },
  warnings: ['a doubt'],
  options: { method: 'equilibrium' },
} as unknown as Registration;
const toMoving = composeAffine(invertAffine(movingAffine), fixedAffine);

test('labels and landmarks by the fixed image’s spacing and the moving one’s grid', () => {
  const inputs = checkInputs(names, contents);
  const labels = labelsWarpedBy(displacement, inputs)!;
  const figures = quality(inputs, registration, labels);
  const expected = dice(contents.fixedSeg!.data, labels, [1, 2]);
  assert.equal(figures.dice!.perLabel, expected.perLabel);
  assert.ok(expected.mean > 0.3 && expected.mean < 1, `${expected.mean}`);
  const unmoved = labelsWarpedBy(new Float32Array(3 * W * H * D), inputs)!;
  assert.equal(figures.dice!.perLabelBefore, dice(contents.fixedSeg!.data, unmoved, [1, 2]).perLabel);
  assert.is.not(figures.dice!.before, figures.dice!.mean);
  assert.equal(figures.hd95, hd95(contents.fixedSeg!.data, labels, [1, 2], [W, H, D], [1, 1.5, 4]));
  const moving = { size: movingSize, affine: movingAffine };
  const [before, after] = [null, displacement].map((u) => tre(contents.landmarks!, u, [W, H, D], toMoving, moving)) as [
    TargetError,
    TargetError,
  ];
  const perLandmark = [0, 1].map((n) => ({ name: `${n + 1}`, before: before.perLandmark[n], after: after.perLandmark[n] }));
  assert.equal(figures.tre, {
    ...{ before: before.mean, beforeSd: before.sd, after: after.mean, afterSd: after.sd, afterMax: after.max },
    perLandmark,
  });
  const named = checkInputs(names, { ...contents, landmarks: { ...contents.landmarks!, names: ['a', 'b'] } });
  assert.equal(
    quality(named, registration, labels).tre!.perLandmark.map(({ name }) => name),
    ['a', 'b'],
  );
});

test('regularity in the mask, else in the labels, else in the foreground', () => {
  const above = volume([W, H, D], fixedAffine, (_i, _j, k) => (k > 6 ? 2 : 0));
  const foreground = contents.fixed.data.map((x) => Number(x > 5));
  for (const [given, region, inside] of [
    [{ ...contents, fixedMask: above }, 'fixed mask', above.data],
    [contents, 'fixed labels', contents.fixedSeg!.data],
    [{ fixed: contents.fixed, moving: contents.moving }, 'fixed foreground', foreground],
  ] as const) {
    const inputs = checkInputs({ ...names, fixedMask: 'fm' }, given);
    const figures = quality(inputs, registration, labelsWarpedBy(displacement, inputs));
    const { mask: expected, grid } = jacobianStats(displacement, [W, H, D], inside);
    assert.is(figures.region, region);
    assert.equal(
      [figures.foldingPercent, figures.sdLogJ, figures.ndvPercent],
      [expected.foldingPercent, expected.sdLogJ, nonDiffeomorphicPercent(displacement, [W, H, D], inside)],
    );
    assert.is(figures.grid.foldingPercent, grid.foldingPercent);
    assert.is(figures.foldingPercent > 0, region !== 'fixed mask', 'the mask lies where nothing folds');
    assert.is(figures.ndvPercent > 0, region !== 'fixed mask');
  }
  const ct = {
    ...registration,
    intensities: { ...registration.intensities, fixed: { modality: 'ct', low: -1024, high: 300 } },
  } as Registration;
  const lung = volume([W, H, D], fixedAffine, () => -1024 + 200 * random());
  const inputs = checkInputs(names, { fixed: lung, moving: contents.moving });
  assert.is(
    quality(inputs, ct).sdLogJ,
    jacobianStats(
      displacement,
      [W, H, D],
      lung.data.map((x) => Number(x > -1024 + 0.05 * 1324)),
    ).mask.sdLogJ,
    'air is no foreground',
  );
});

test('what speaks against a result is in the report, whoever says it', () => {
  const inputs = checkInputs({ ...names, landmarks: undefined }, { ...contents, landmarks: undefined });
  inputs.warnings.push('of the input');
  const figures = quality(inputs, registration, labelsWarpedBy(displacement, inputs));
  figures.dice!.before = figures.dice!.mean + 0.001;
  const inverse = { unsolvedPercent: 90, voxels: { mean: 3, max: 9 }, mm: { mean: 3, max: 9 } };
  const seconds = { read: 0, affine: 0, prepare: 0, solve: 0, metrics: 0, write: 0, total: 0 };
  const { warnings } = report(
    inputs,
    registration,
    figures,
    { vendor: '', architecture: '', device: '', description: '', software: true },
    seconds,
    inverse as never,
  );
  assert.is(warnings.length, 5, warnings.join('\n'));
  ['of the input', 'a doubt', 'there is no inverse: 90 %', 'the displacement folds: NDV 1', 'the labels overlap less than before'].forEach(
    (told, i) => assert.match(warnings[i], told),
  );
  assert.match(speaksAgainst({ tre: { before: 3, after: 3.1 } }).join(), 'the landmarks are farther apart than before: TRE 3.00 → 3.10 mm');
  assert.equal(speaksAgainst({ tre: { before: 3, after: 3 } }), []);
  const folds = (ndvPercent: number, foldingPercent: number) =>
    speaksAgainst({ region: 'fixed labels', ndvPercent, foldingPercent }).join();
  assert.is(folds(0.213, 0), 'the displacement folds: NDV 0.21 % of the fixed labels; a larger lambda smooths it');
  assert.is(folds(NaN, 0.28), 'the displacement folds: folds 0.28 % of the fixed labels; a larger lambda smooths it');
  assert.equal([folds(0.09, 1), folds(NaN, 0.01)], ['', '']);
});

test('labels that only one map has are told, wanted or not', () => {
  const more = { ...contents, fixedSeg: { ...contents.fixedSeg!, data: contents.fixedSeg!.data.with(0, 7) } };
  assert.equal(checkInputs(names, more).warnings, ['fs, ms: labels that do not count: 7 only in the fixed map']);
  assert.equal(checkInputs(names, more, [1, 2]).warnings, []);
  assert.equal(checkInputs(names, contents).warnings, []);
});

test('labels from 2²⁴ on, which float32 does not tell apart, are refused', () => {
  const of = (...values: number[]) => ({ ...contents.fixedSeg!, data: Float32Array.from(values) });
  checkWhole('l', of(0, 2 ** 24 - 1, -3));
  for (const label of [2 ** 24, -(2 ** 24), 2 ** 24 + 2])
    assert.throws(() => checkWhole('l', of(0, label)), /^l: voxel 1 has the label -?167772\d\d; labels of 16777216 and more/);
});

test('landmarks in mm become voxels of the image they lie in', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'deqreg-metrics-'));
  try {
    const path = (name: string) => join(folder, name);
    for (const name of ['fixed', 'moving'] as const)
      await writeFile(path(`${name}.nii`), encodeNifti({ ...contents[name], dtype: 'float32' }));
    const lps = (affine: Affine, p: number[]) => applyAffine(affine, p as Size).map((x, axis) => (axis < 2 ? -x : x));
    await writeFile(
      path('landmarks.csv'),
      `fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z\n${[...lps(fixedAffine, [3, 4, 5]), ...lps(movingAffine, [6, 8, 3])]}\n`,
    );
    const { landmarks } = await readInputs({ fixed: path('fixed.nii'), moving: path('moving.nii'), landmarks: path('landmarks.csv') });
    const close = (found: Float64Array, expected: number[]) =>
      expected.forEach((x, i) => assert.ok(Math.abs(found[i] - x) < 1e-4, `${found}`));
    close(landmarks!.fixed, [3, 4, 5]);
    close(landmarks!.moving, [6, 8, 3]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.run();
