// The affine stage: its field and gradient, what it recovers, when it moves at all, and that the displacement contains it.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type MaskedVolume, register, type RegisterOptions, type Volume } from '../src/index.ts';
import { applyAffine, composeAffine, invertAffine, type Affine, type Vec3, voxelToVoxel } from '../src/io/affine.ts';
import { writeNifti } from '../src/io/files.ts';
import type { Landmarks } from '../src/io/landmarks.ts';
import { encodeNifti } from '../src/io/nifti.ts';
import { affineField } from '../src/ops/index.ts';
import { alignAffine, type AffineMode, traceAffine } from '../src/register/affine.ts';
import { turnOf } from '../src/register/affine-steps.ts';
import { intensityWindow } from '../src/register/intensity.ts';
import { dice, presentLabels, tre, warpLabels } from '../src/register/metrics.ts';
import { phantom } from '../src/register/phantom.ts';
import { deqreg } from './cli-run.ts';
import { evaluate, gpu } from './gpu.ts';
import { moved, otherGrid, transformError, transformOf } from './moved.ts';
import { ndarray, relativeError, uniform } from './reference/ndarray.ts';

const size: Vec3 = [40, 48, 56]; // 4 mm voxels
const brain = phantom('brain', size, 1);
const still = transformOf({});
const far = transformOf({ turn: [15, -20, 20], scale: [1.1, 1.1, 1.1], shift: [12, -12, 10] }); // 30° in all, 20 mm
const elsewhere = otherGrid([60, 56, 58], [4.5, 4, 5], [8, -6, 5]);

async function align(fixed: MaskedVolume, moving: MaskedVolume, mode: AffineMode = 'auto') {
  const windows = { fixed: intensityWindow(fixed.data), moving: intensityWindow(moving.data) };
  return alignAffine(await gpu(), fixed, moving, { windows, factors: [4, 2] }, mode);
}
const run = async (fixed: Volume, moving: Volume, options: RegisterOptions = {}) => register(await gpu(), fixed, moving, options);
const linearOf = (a: Affine) => [0, 1, 2].map((i) => [0, 1, 2].map((j) => a[4 * i + j]));
const determinant = ([a, b, c]: number[][]) =>
  a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
/** Largest entry of RᵀR − I. */
const skew = (a: Affine) => {
  const r = linearOf(a);
  return Math.max(
    ...[0, 1, 2].flatMap((i) => [0, 1, 2].map((j) => Math.abs(r.reduce((sum, row) => sum + row[i] * row[j], 0) - Number(i === j)))),
  );
};

test('affineField: M·p − p and its gradient, against float64', async () => {
  for (const [d, h, w] of [
    [3, 5, 7],
    [9, 1, 4],
    [21, 20, 19],
  ] as const) {
    const matrix = ndarray([12], [1.1, -0.2, 0.05, 3, 0.1, 0.9, 0.3, -2, -0.15, 0.2, 1.05, 0.5]);
    const n = w * h * d,
      cotangent = uniform([1, 3, d, h, w], 5);
    const field = new Float64Array(3 * n),
      gradient = new Float64Array(12);
    for (let v = 0; v < n; v++) {
      const p = [v % w, Math.floor(v / w) % h, Math.floor(v / (w * h)), 1];
      for (let c = 0; c < 3; c++)
        for (let j = 0; j < 4; j++) {
          field[c * n + v] += (matrix.data[4 * c + j] - Number(c === j)) * p[j];
          gradient[4 * c + j] += cotangent.data[c * n + v] * p[j];
        }
    }
    const { y, grads } = await evaluate(([m]) => affineField(m, [d, h, w]), [matrix], cotangent);
    assert.ok(relativeError(y, field) < 1e-6, `${w}×${h}×${d}: ${relativeError(y, field)}`);
    assert.ok(relativeError(grads[0]!, gradient) < 1e-5, `${w}×${h}×${d}: gradient ${relativeError(grads[0]!, gradient)}`);
  }
});

test('both images are compared at the fixed one’s resolution, whatever their own', () => {
  const grid = (n: number, mm: number) => ({ size: [n, n, n] as Vec3, affine: [mm, 0, 0, 0, 0, mm, 0, 0, 0, 0, mm, 0] });
  const window = { modality: 'mri' as const, low: 0, high: 1 };
  const { levels } = traceAffine(grid(64, 1), grid(128, 0.5), { windows: { fixed: window, moving: window }, factors: [4, 2] });
  assert.equal(
    levels.map(({ fixed, moving }) => [fixed.size, moving.size]),
    [
      [[16, 16, 16], [16, 16, 16]],
      [[32, 32, 32], [32, 32, 32]],
    ], // prettier-ignore
  );
});

test('auto: none for an image against itself and for a pair that differs by its deformation', async () => {
  for (const [fixed, moving] of [
    [brain.fixed, brain.fixed],
    [brain.fixed, brain.moving],
  ] as const) {
    const { requested, mode, matrix, motion } = await align(fixed, moving);
    assert.equal([requested, mode, matrix, motion], ['auto', 'none', still, 0]);
  }
});

const known: [string, Affine][] = [
  ['30°, 20 mm', transformOf({ turn: [0, 0, 30], shift: [20, 0, 0] })],
  ['30°, 20 mm, 10 % larger', far],
  ['scales of its own along each axis', transformOf({ turn: [10, 20, -20], scale: [1.1, 0.9, 1.05], shift: [10, -15, 8] })],
  ['60°', transformOf({ turn: [60, 0, 0], shift: [0, 10, -20] })],
  ['150°', transformOf({ turn: [0, 150, 0] })],
];
for (const [name, truth] of known) {
  test(`auto recovers ${name}, on a grid of other axes and spacing`, async () => {
    const { mode, matrix, ncc } = await align(brain.fixed, moved(brain.fixed, truth, elsewhere));
    assert.is(mode, 'affine');
    const error = transformError(matrix, truth, brain.fixedSeg);
    assert.ok(error < 1, `${error} mm, a quarter of a voxel is 1`);
    assert.ok(ncc.after > 0.98 && ncc.before < 0.9, JSON.stringify(ncc));
  });
}

test('recovered as well: thick slices, a field of view many times the object, CT with air around it', async () => {
  const lung = phantom('lung', [40, 56, 80], 1);
  for (const [name, { fixed, fixedSeg }, grid, air] of [
    ['6 mm slices', brain, otherGrid([44, 80, 90], [6, 2.5, 2.5]), 0],
    ['large field of view', brain, otherGrid([80, 80, 80], [7, 7, 7], [60, -40, 30]), 0],
    ['CT', lung, otherGrid([96, 60, 72], [4, 4, 4], [20, 5, 0]), -1000],
  ] as const) {
    const { mode, matrix } = await align(fixed, moved(fixed, far, grid, 'linear', air));
    const error = transformError(matrix, far, fixedSeg);
    assert.ok(mode === 'affine' && error < 1.5, `${name}: ${mode}, ${error} mm`);
  }
});

test('headers that put the images beside each other, in part or wholly, mislead no mode', async () => {
  for (const shift of [80, 120, 150, 200]) {
    const truth = transformOf({ turn: [5, 0, 5], shift: [0, shift, 0] });
    const affine = brain.fixed.affine.map((x, i) => (i === 7 ? x + shift : x));
    const aside = moved(brain.fixed, truth, { size, affine });
    for (const mode of ['auto', 'rigid'] as const) {
      const found = await align(brain.fixed, aside, mode);
      const error = transformError(found.matrix, truth, brain.fixedSeg);
      assert.ok(error < 1.5 && found.ncc.after > 0.95, `${shift} mm, ${mode}: ${error} mm, NCC ${found.ncc.after}`);
    }
  }
});

test('neither the scale of intensities, nor what a mask of the moving image leaves out, changes where it goes', async () => {
  const away = moved(brain.moving, far, elsewhere);
  const scaled = { ...away, data: away.data.map((x) => 40 * x + 3) };
  const [plain, other] = [await align(brain.fixed, away, 'rigid'), await align(brain.fixed, scaled, 'rigid')];
  assert.ok(transformError(plain.matrix, other.matrix, brain.fixed) < 0.1, 'mm');
  const [w, h] = away.size;
  const beside = (v: number) => v % w < 8 && Math.floor(v / w) % h < 20;
  const spoilt = { ...away, data: away.data.map((x, v) => (beside(v) ? 255 : x)) };
  const mask = away.data.map((_, v) => Number(!beside(v)));
  const error = async (moving: MaskedVolume) =>
    transformError((await align(brain.fixed, moving, 'rigid')).matrix, plain.matrix, brain.fixed);
  const [masked, bare] = [await error({ ...spoilt, mask }), await error(spoilt)];
  assert.ok(masked < 1.5 && bare > 3 * masked, `${masked} mm with the mask, ${bare} without`);
});

test('a negative is aligned as its positive is, and stays where it fits', async () => {
  const negative = (volume: Volume) => ({ ...volume, data: volume.data.map((x) => 200 - x) });
  const { mode, ncc } = await align(brain.fixed, negative(brain.moving));
  assert.ok(mode === 'none' && ncc.before < -0.7, `${mode}, ${ncc.before}`);
  const truth = transformOf({ turn: [8, 0, 5], shift: [6, -5, 4] });
  const found = await align(brain.fixed, negative(moved(brain.fixed, truth, brain.fixed)), 'affine');
  const error = transformError(found.matrix, truth, brain.fixedSeg);
  assert.ok(error < 1.5 && found.ncc.after < -0.95, `${error} mm, NCC ${found.ncc.after}`);
});

test('auto: a mask of a small part does not make of its displacement one of the whole', async () => {
  const [small] = presentLabels(brain.fixedSeg.data, brain.movingSeg.data).slice(-1);
  const mask = brain.fixedSeg.data.map((label) => Number(label === small));
  assert.is((await align({ ...brain.fixed, mask }, brain.moving)).mode, 'none');
});

test('a fit that has nothing to hold on to neither mirrors nor collapses', async () => {
  for (const seed of [1, 2, 3]) {
    const noise = { ...brain.moving, data: Float32Array.from(uniform([1, 1, ...size], seed).data, (x) => 100 + 50 * x) };
    const { mode, matrix } = await align(brain.fixed, noise, 'affine');
    const growth = determinant(linearOf(matrix));
    assert.ok((mode === 'rigid' || mode === 'affine') && growth > 0.2 && growth < 5, `${mode}: ${growth}`);
  }
});

test('every mode does what it says', async () => {
  const turned = moved(brain.fixed, known[0][1], elsewhere),
    truth = known[0][1];
  const none = await align(brain.fixed, turned, 'none');
  assert.equal([none.mode, none.matrix, none.evaluations], ['none', still, 0]);

  const start = await align(brain.fixed, turned, 'moments');
  assert.is(start.mode, 'moments');
  assert.ok(skew(start.matrix) < 1e-6 && determinant(linearOf(start.matrix)) > 0);
  const centre = (v: Volume) => {
    let mass = 0;
    const sum = [0, 0, 0];
    v.data.forEach((value, n) => {
      mass += value;
      applyAffine(v.affine, [n % v.size[0], Math.floor(n / v.size[0]) % v.size[1], Math.floor(n / (v.size[0] * v.size[1]))]).forEach(
        (x, i) => {
          sum[i] += value * x;
        },
      );
    });
    return sum.map((x) => x / mass);
  };
  const [from, to] = [applyAffine(start.matrix, centre(brain.fixed)), centre(turned)];
  assert.ok(Math.hypot(...from.map((x, i) => x - to[i])) < 1.5, `centres ${from}, ${to}`);

  const rigid = await align(brain.fixed, turned, 'rigid');
  assert.is(rigid.mode, 'rigid');
  assert.ok(skew(rigid.matrix) < 1e-6 && determinant(linearOf(rigid.matrix)) > 0, `RᵀR − I: ${skew(rigid.matrix)}`);
  assert.ok(transformError(rigid.matrix, truth, brain.fixedSeg) < 1, `${transformError(rigid.matrix, truth, brain.fixedSeg)} mm`);
  const stretched = await align(brain.fixed, moved(brain.fixed, far, elsewhere), 'rigid');
  assert.ok(skew(stretched.matrix) < 1e-6 && transformError(stretched.matrix, far, brain.fixedSeg) > 3, 'a rigid transform does not scale');

  const affine = await align(brain.fixed, moved(brain.fixed, far, elsewhere), 'affine');
  assert.is(affine.mode, 'affine');
  assert.ok(Math.abs(determinant(linearOf(affine.matrix)) / 1.1 ** 3 - 1) < 0.03);
  assert.ok(affine.ncc.after > stretched.ncc.after && rigid.ncc.after > start.ncc.after);
});

test('a pair moved by a known transform: Dice of the unmoved pair, the whole transform in the displacement, the same bits again', async () => {
  const there = moved(brain.moving, far, otherGrid([90, 77, 93], [3, 3, 3], [8, -6, 5]));
  const labels = presentLabels(brain.fixedSeg.data, brain.movingSeg.data);
  /** The labels as they are, not as a coarse grid would render them: looked up where the displacement and the way back from there lead. */
  const score = (u: Float32Array, back: Affine) =>
    dice(
      brain.fixedSeg.data,
      warpLabels(
        brain.movingSeg.data,
        size,
        u,
        size,
        composeAffine(invertAffine(brain.moving.affine), composeAffine(back, brain.fixed.affine)),
      ),
      labels,
    ).mean;
  const plain = await run(brain.fixed, brain.moving),
    found = await run(brain.fixed, there);
  assert.equal([plain.affine.mode, found.affine.mode], ['none', 'affine']);
  const [before, after] = [score(plain.displacement, still), score(found.displacement, invertAffine(far))];
  assert.ok(after > before - 0.01, `Dice ${before} unmoved, ${after} moved`);

  const toThere = composeAffine(invertAffine(there.affine), composeAffine(far, brain.moving.affine));
  const landmarks: Landmarks = { fixed: brain.landmarks.fixed, moving: Float64Array.from(brain.landmarks.moving) };
  for (let n = 0; n < landmarks.moving.length; n += 3)
    landmarks.moving.set(applyAffine(toThere, [...brain.landmarks.moving.subarray(n, n + 3)]), n);
  const error = (moving: Volume, points: Landmarks, u: Float32Array) =>
    tre(points, u, size, voxelToVoxel(brain.fixed.affine, moving.affine), moving).mean;
  const [unmoved, physical] = [error(brain.moving, brain.landmarks, plain.displacement), error(there, landmarks, found.displacement)];
  assert.ok(physical < 1.15 * unmoved + 0.3, `landmarks: ${unmoved} mm unmoved, ${physical} mm moved`);

  const again = await run(brain.fixed, there);
  assert.equal([again.affine, again.displacement], [found.affine, found.displacement]);
  assert.equal(found.memory.measured, found.memory.planned);
});

test('the command: affine.txt is the matrix in LPS, images apart are refused unless they are to be aligned', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'deqreg-affine-'));
  try {
    const apart = { ...brain.moving, affine: brain.moving.affine.map((x, i) => (i === 3 ? x + 1000 : x)) };
    for (const [name, { size, affine, data }] of [
      ['fixed', brain.fixed],
      ['apart', apart],
    ] as const)
      await writeNifti(join(folder, `${name}.nii`), encodeNifti({ size, affine, data, dtype: 'uint8' }));
    const files = (await readdir(folder)).sort();
    for (const more of [[], ['--affine', 'auto'], ['--affine', 'none']]) {
      const { code, stdout, stderr } = await deqreg(folder, [
        'register',
        '--fixed',
        'fixed.nii',
        '--moving',
        'apart.nii',
        '--out',
        'o',
        ...more,
      ]);
      assert.equal([code, stdout, (await readdir(folder)).sort()], [1, '', files]);
      assert.match(stderr, /^deqreg: fixed\.nii, apart\.nii: the volumes do not overlap: 0 % [^\n]*\n$/);
    }
    for (const mode of ['moments', 'affine']) {
      const { code, stdout, stderr } = await deqreg(folder, [
        'register',
        '--fixed',
        'fixed.nii',
        '--moving',
        'apart.nii',
        '--out',
        mode,
        '--affine',
        mode,
        '--iterations',
        '3',
        '--no-report',
      ]);
      assert.is(code, 0, stderr);
      assert.match(stdout, new RegExp(`affine +${mode}: NCC -?0\\.\\d+ → 0\\.\\d+, (999|100\\d)\\.\\d mm`));
      const { affine } = JSON.parse(await readFile(join(folder, mode, 'metrics.json'), 'utf8'));
      assert.equal([affine.requested, affine.mode], [mode, mode]);
      const text = await readFile(join(folder, mode, 'affine.txt'), 'utf8');
      assert.match(
        text,
        /^#Insight Transform File V1\.0\n#Transform 0\nTransform: AffineTransform_double_3_3\nParameters: [^\n]+\nFixedParameters: 0 0 0\n$/,
      );
      const p = /Parameters: (.*)/.exec(text)![1].split(' ').map(Number),
        sign = [-1, -1, 1];
      for (let i = 0; i < 3; i++) {
        for (let j = 0; j < 3; j++) assert.ok(Math.abs(sign[i] * sign[j] * p[3 * i + j] - affine.matrix[4 * i + j]) < 1e-9);
        assert.ok(Math.abs(sign[i] * p[9 + i] - affine.matrix[4 * i + 3]) < 1e-9);
      }
      assert.ok(transformError(affine.matrix, transformOf({ shift: [1000, 0, 0] }), brain.fixedSeg) < 6);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('by how much a transform turns, whatever it scales', () => {
  for (const [turn, angle] of [
    [[0, 0, 0], 0],
    [[0, 30, 0], 30],
    [[120, 0, 0], 120],
  ] as const) {
    const scaled = composeAffine(transformOf({ turn: [...turn], shift: [9, 0, 3] }), [1.2, 0, 0, 0, 0, 1.2, 0, 0, 0, 0, 1.2, 0]);
    assert.ok(Math.abs(turnOf(scaled) - angle) < 1e-4, `${turnOf(scaled)}, not ${angle}`);
  }
});

test.run();
