// Masks, modality and thin grids in register(): what is left out does not count, what was decided is recorded.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type MaskedVolume, register, type RegisterOptions, type Volume } from '../src/index.ts';
import { applyAffine, type Vec3, voxelToVoxel } from '../src/io/affine.ts';
import type { Grid } from '../src/io/volume.ts';
import { intensityWindow } from '../src/register/intensity.ts';
import { moments } from '../src/register/moments.ts';
import { dice, jacobianStats, presentLabels, warpLabels } from '../src/register/metrics.ts';
import { contains, overlap } from '../src/register/overlap.ts';
import { phantom } from '../src/register/phantom.ts';
import { gpu } from './gpu.ts';
import { rejection } from './rejection.ts';

const size: Vec3 = [40, 48, 56];
const brain = phantom('brain', size, 1);
const run = async (fixed: MaskedVolume, moving: MaskedVolume, options: RegisterOptions = {}) =>
  register(await gpu(), fixed, moving, options);
const inside = ({ data }: Volume) => data.map((label) => Number(label > 0));

/** A bright ball around the voxel (0, 0, 0): 7 voxels and more from the brain. */
function withArtefact(volume: Volume, value: number): Volume {
  const [w, h] = volume.size;
  return {
    ...volume,
    data: volume.data.map((x, v) => (Math.hypot(v % w, Math.floor(v / w) % h, Math.floor(v / (w * h))) < 11 ? value : x)),
  };
}

/** RMS distance of two displacements inside a mask, voxels. */
function apart(a: Float32Array, b: Float32Array, mask: Float32Array): number {
  let sum = 0,
    count = 0;
  mask.forEach((m, v) => {
    if (!m) return;
    for (let c = 0; c < 3; c++) sum += (a[v + c * mask.length] - b[v + c * mask.length]) ** 2;
    count++;
  });
  return Math.sqrt(sum / count);
}

test('an artefact outside the mask does not change what is inside; without the mask it does', async () => {
  const mask = inside(brain.fixedSeg),
    artefact = withArtefact(brain.fixed, 2000);
  const [clean, masked, bare] = [
    await run({ ...brain.fixed, mask }, brain.moving),
    await run({ ...artefact, mask }, brain.moving),
    await run(artefact, brain.moving),
  ];
  assert.equal([clean.affine.mode, masked.affine.mode], ['none', 'none']);
  assert.equal(masked.intensities, clean.intensities);
  const [with_, without] = [apart(masked.displacement, clean.displacement, mask), apart(bare.displacement, clean.displacement, mask)];
  assert.ok(with_ < 0.04 && without > 4 * with_, `${with_} voxels with the mask, ${without} without`);
  assert.equal(masked.memory.measured, masked.memory.planned);
});

test('a mask does not make CT of something else: air beyond it says what the image is', () => {
  const data = Float32Array.from({ length: 1000 }, (_, v) => (v < 300 ? -1000 + (v % 50) : 20 + (v % 80)));
  const organ = data.map((value) => Number(value > 0));
  assert.is(intensityWindow(data, 'auto', organ).modality, 'ct');
  assert.is(intensityWindow(data.filter((value) => value > 0)).modality, 'mri');
  const mri = data.map((value) => Math.max(value, 0));
  assert.equal(intensityWindow(mri, 'auto', organ), { modality: 'mri', low: 20, high: intensityWindow(mri, 'auto', organ).high });
});

test('the mask of the moving image alone: intensities that it leaves out do not decide its window', async () => {
  const mask = inside(brain.movingSeg),
    artefact = withArtefact(brain.moving, 2000);
  const [clean, masked, bare] = [
    await run(brain.fixed, { ...brain.moving, mask }),
    await run(brain.fixed, { ...artefact, mask }),
    await run(brain.fixed, artefact),
  ];
  assert.equal(masked.intensities, clean.intensities);
  assert.not.equal(bare.intensities.moving, clean.intensities.moving);
  const within = inside(brain.fixedSeg);
  const [with_, without] = [apart(masked.displacement, clean.displacement, within), apart(bare.displacement, clean.displacement, within)];
  assert.ok(with_ < 0.06 && without > 3 * with_, `${with_} voxels with the mask, ${without} without`);
});

test('the share of a grid inside another is that of its voxels, counted one by one, however both lie', () => {
  const grid = { size: [37, 29, 31] as Vec3, affine: [2, 0.3, 0, -30, -0.4, 1.9, 0.2, -20, 0.1, -0.3, -2.6, 50] };
  const others: Grid[] = [
    { ...grid, size: [36, 29, 31] }, // one voxel less
    { size: [20, 40, 30], affine: [1, 0, 0, -20.03, 0, 0, 1.5, -15.02, 0, 2, 0, -20.07] },
    { size: [9, 9, 9], affine: [-4, 0, 0, 20.03, 0, 4, 0, -10.01, 0, 0, 4, -10.02] },
    { size: [5, 5, 5], affine: [1, 0, 0, 900, 0, 1, 0, 0, 0, 0, 1, 0] },
  ];
  for (const other of others) {
    const m = voxelToVoxel(grid.affine, other.affine);
    let inside = 0;
    for (let v = 0; v < 37 * 29 * 31; v++)
      inside += Number(contains(other, ...applyAffine(m, [v % 37, Math.floor(v / 37) % 29, Math.floor(v / (37 * 29))])));
    assert.is(overlap(grid, other), inside / (37 * 29 * 31));
  }
  assert.is(overlap(grid, others[0]), 36 / 37);
  assert.is(overlap(grid, grid), 1);
});

test('windows and moments: values inside the mask decide', () => {
  const mask = inside(brain.fixedSeg),
    artefact = withArtefact(brain.fixed, 2000);
  const window = intensityWindow(brain.fixed.data, 'auto', mask);
  assert.equal(intensityWindow(artefact.data, 'auto', mask), window);
  assert.ok(intensityWindow(artefact.data).high < 1.1 * window.high, 'a fill that many voxels share is no contrast');
  assert.equal(moments({ ...artefact, mask }, window), moments({ ...brain.fixed, mask }, window));
  // However the voxels are ordered, a few far below all others are none of them.
  const [w, h, d] = [64, 128, 256];
  const ball = new Float32Array(w * h * d).map((_, v) => {
    const [i, j, k] = [v % w, Math.floor(v / w) % h, Math.floor(v / (w * h))];
    return Math.hypot(i / w - 0.5, j / h - 0.5, k / d - 0.5) < 0.4 ? 100 + (v % 100) : 0;
  });
  ball[5] = -30000;
  const turned = ball.map((_, v) => ball[Math.floor(v / (d * h)) + w * (Math.floor(v / d) % h) + w * h * (v % d)]);
  assert.equal(intensityWindow(ball), intensityWindow(turned));
  assert.is(intensityWindow(ball).low, 0);
  // Nor what images were padded with.
  const [plain, lung] = [brain.fixed.data, phantom('lung', [40, 56, 48], 1).fixed.data];
  const filled = (data: Float32Array, fill: number, share: number) => data.map((x, v) => (v < share * data.length ? fill : x));
  const like = (found: ReturnType<typeof intensityWindow>, { modality, low, high }: ReturnType<typeof intensityWindow>) => {
    const close = (a: number, b: number) => Math.abs(a - b) < 0.1 * (high - low);
    assert.ok(found.modality === modality && close(found.low, low) && close(found.high, high), JSON.stringify([found, { low, high }]));
  };
  const background = plain.map((x) => (x === 0 ? -1024 : x));
  like(intensityWindow(background), intensityWindow(plain));
  const raised = lung.map((x) => x + 1024); // CT from 0 on, as scanners store it
  for (const share of [0.02, 0.3]) {
    for (const fill of [-1024, -2000, 3000]) like(intensityWindow(filled(plain, fill, share)), intensityWindow(plain));
    like(intensityWindow(filled(raised, -2000, share)), intensityWindow(raised));
    for (const fill of [-1024, -3024, 3000]) assert.is(intensityWindow(filled(lung, fill, share)).modality, 'ct');
  }
  const point = { ...brain.fixed, data: brain.fixed.data.map((_, v) => Number(v === 1 + 40 * (3 + 48 * 5))) }; // odd along each axis
  const { centre } = moments(point, { modality: 'mri', low: 0, high: 1 });
  assert.ok(
    centre.every(
      (x, i) => Math.abs(x - [1, 3, 5].reduce((sum, p, j) => sum + point.affine[4 * i + j] * p, point.affine[4 * i + 3])) < 1e-9,
    ),
  );
});

test('modality: found by the values, or forced; the window is recorded', async () => {
  const lung = phantom('lung', [40, 56, 48], 1),
    few = { iterations: 1, levels: [4], affine: 'none' } as const;
  const ct = { modality: 'ct', low: -1024, high: 300 };
  assert.equal((await run(lung.fixed, lung.moving, few)).intensities, { fixed: ct, moving: ct });
  const forced = await run(lung.fixed, lung.moving, { ...few, modality: 'mri' });
  assert.equal([forced.intensities.fixed.modality, forced.intensities.fixed.low, forced.options.modality], ['mri', -1024, 'mri']);
  assert.equal((await run(brain.fixed, brain.moving, few)).intensities.fixed.modality, 'mri');
  assert.equal((await run(brain.fixed, brain.moving, { ...few, modality: 'ct' })).intensities, { fixed: ct, moving: ct });
  assert.throws(
    () => intensityWindow(Float32Array.of(400, 500), 'ct'),
    /modality ct: all values, 400 to 500, lie outside its window of -1024 to 300 HU/,
  );
  assert.throws(
    () => intensityWindow(Float32Array.of(0, 0.5, 1), 'ct'),
    /modality ct: all values, 0 to 1, are in a small part of its window of -1024 to 300 HU; choose mri/,
  );
  const dark = (count: number) =>
    intensityWindow(Float32Array.from({ length: 10000 }, (_, v) => (v < count ? -900 : v === 9999 ? -1000 : v % 100))).modality;
  assert.equal([0, 1, 9, 10].map(dark), ['mri', 'mri', 'mri', 'ct']); // a thousandth
  const within = Float32Array.from({ length: 10000 }, (_, v) => (v < 3 ? -900 : v === 3 ? -1000 : v % 100)); // few of all, many of the mask
  assert.is(
    intensityWindow(
      within,
      'auto',
      within.map((_, v) => Number(v < 500)),
    ).modality,
    'ct',
  );
});

test('a moving image that ends within the fixed one: its border is not matched with what lies beyond', async () => {
  const { fixed, moving } = brain;
  const slices = 28; // of 56
  const cut = { ...moving, size: [size[0], size[1], slices] as Vec3, data: moving.data.slice(0, size[0] * size[1] * slices) };
  const [whole, half] = [await run(fixed, moving), await run(fixed, cut)];
  assert.is(whole.coverage, 1);
  assert.is(half.coverage, 0.5);
  assert.equal(half.memory.measured, half.memory.planned);
  const slab = (from: number, to: number) => fixed.data.map((_, v) => Number(v >= from * size[0] * size[1] && v < to * size[0] * size[1]));
  const still = new Float32Array(whole.displacement.length);
  const [within, beyond] = [slab(0, 20), slab(48, 56)];
  assert.ok(apart(half.displacement, whole.displacement, within) < 0.3, `${apart(half.displacement, whole.displacement, within)} voxels`);
  assert.ok(apart(half.displacement, still, beyond) < 0.1, `${apart(half.displacement, still, beyond)} voxels`);
  const few = { affine: 'affine', iterations: 1 } as const;
  const [all, part] = [await run(fixed, moving, few), await run(fixed, cut, few)];
  assert.equal(part.memory.measured, part.memory.planned);
  assert.ok(Math.abs(part.affine.motion - all.affine.motion) < 1, `moved by ${part.affine.motion} and ${all.affine.motion} mm`);
  const beneath = { ...fixed, mask: slab(30, 56) }; // of the moving image there is nothing
  assert.match(await rejection(run(beneath, cut)), /^no voxel that counts of the fixed image lies in the moving one; /);
});

test('slices four times as thick as the pixels: Dice improves, steps stay sensible', async () => {
  const thick = phantom('brain', [56, 64, 20], 3),
    labels = presentLabels(thick.fixedSeg.data, thick.movingSeg.data); // 2.9×3×11 mm
  const { displacement: u, levels } = await run(thick.fixed, thick.moving);
  const toMoving = voxelToVoxel(thick.fixed.affine, thick.moving.affine),
    thickSize = thick.fixed.size;
  const score = (field: Float32Array) =>
    dice(thick.fixedSeg.data, warpLabels(thick.movingSeg.data, thickSize, field, thickSize, toMoving), labels).mean;
  const [before, after] = [score(new Float32Array(u.length)), score(u)];
  assert.ok(after > before + 0.1, `Dice ${before} → ${after}`);
  assert.ok(jacobianStats(u, thickSize).grid.foldingPercent < 0.1);
  assert.ok(levels.every(({ size: [, , d] }) => d === 20));
  assert.ok(
    u.every((x) => Math.abs(x) < 12),
    'the true displacement has at most 3.5 voxels within a slice',
  );
});

test('one slice, two slices: registered within the slice', async () => {
  for (const depth of [1, 2]) {
    const cut = ({ data, ...volume }: Volume): Volume => ({
      ...volume,
      size: [40, 48, depth],
      data: data.slice(26 * 1920, (26 + depth) * 1920),
    });
    const { displacement, similarity, affine } = await run(cut(brain.fixed), cut(brain.moving));
    assert.is(affine.mode, 'none');
    assert.ok(
      displacement.every(Number.isFinite) && similarity.after > similarity.before + 0.02,
      `${depth}: LNCC ${similarity.before} → ${similarity.after}`,
    );
    if (depth === 1)
      assert.ok(
        displacement.subarray(2 * 1920).every((x) => x === 0),
        'nothing leads out of the slice',
      );
  }
});

test.run();
