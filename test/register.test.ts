// register() as a whole: what it does to known pairs, on other grids, to volumes it cannot serve, and that it can be repeated to the bit.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { existsSync } from 'node:fs';
import {
  assign,
  iterate,
  planRegistration,
  register,
  type Registration,
  type RegisterOptions,
  Schedule,
  type Volume,
} from '../src/index.ts';
import { readStatistics } from '../src/deq/anderson.ts';
import { LEAST_BINDING } from '../src/graph/plan.ts';
import { applyAffine, composeAffine, type Vec3, voxelToVoxel } from '../src/io/affine.ts';
import { readVolume } from '../src/io/files.ts';
import type { Grid } from '../src/io/volume.ts';
import { intensityWindow } from '../src/register/intensity.ts';
import { dice, jacobianStats, presentLabels, tre, warpLabels } from '../src/register/metrics.ts';
import { type Described, resolveOptions } from '../src/register/options.ts';
import { phantom } from '../src/register/phantom.ts';
import { levelGrid } from '../src/register/pyramid.ts';
import { PREPARE, traceRegistration } from '../src/register/trace.ts';
import { realCases } from './data.ts';
import { gpu } from './gpu.ts';
import { rejection } from './rejection.ts';

const methods = ['equilibrium', 'adam'] as const;
const size: Vec3 = [40, 48, 56];
const brain = phantom('brain', size, 1);

const run = async (fixed: Volume, moving: Volume, options: RegisterOptions = {}) => register(await gpu(), fixed, moving, options);
const largest = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => Math.max(a, Math.abs(b)), 0);

interface Labelled {
  fixed: Volume;
  moving: Volume;
  fixedSeg: Volume;
  movingSeg: Volume;
}

/** Mean Dice over the labels before and after, and folds in percent over the whole grid. */
function judge({ fixed, moving, fixedSeg, movingSeg }: Labelled, { displacement }: Registration) {
  const toMoving = voxelToVoxel(fixed.affine, moving.affine),
    labels = presentLabels(fixedSeg.data, movingSeg.data);
  const overlap = (u: Float32Array) => dice(fixedSeg.data, warpLabels(movingSeg.data, moving.size, u, fixed.size, toMoving), labels).mean;
  return {
    before: overlap(new Float32Array(displacement.length)),
    after: overlap(displacement),
    folds: jacobianStats(displacement, fixed.size).grid.foldingPercent,
  };
}

test('an image against itself: converged at once on every level, and nothing moves', async () => {
  const { displacement, levels, warped, similarity } = await run(brain.fixed, brain.fixed);
  assert.ok(largest(displacement) < 0.01, `${largest(displacement)} voxels`);
  assert.ok(largest(warped.data.map((x, i) => x - brain.fixed.data[i])) < 0.5);
  assert.ok(Math.abs(similarity.after - similarity.before) < 1e-5);
  for (const { result, iterations } of levels) assert.ok(result === 'converged' && iterations <= 4, `${result} after ${iterations}`);
});

test('adam, an image against itself: it scales noise up, but what moves are single voxels', async () => {
  const { displacement } = await run(brain.fixed, brain.fixed, { method: 'adam' });
  const rms = Math.sqrt(displacement.reduce((sum, x) => sum + x * x, 0) / displacement.length);
  assert.ok(rms < 0.02, `${rms} voxels`);
});

for (const method of methods) {
  test(`${method}: the phantom brain is aligned without a fold, in the memory planned`, async () => {
    const { ledger } = await gpu();
    ledger.reset();
    const result = await run(brain.fixed, brain.moving, { method });
    assert.equal(ledger.peak, result.memory.planned, 'nor is anything allocated beside the plan');
    const { before, after, folds } = judge(brain, result);
    assert.ok(before < 0.7 && after > before + 0.15, `Dice ${before} → ${after}`);
    assert.is(folds, 0);
    assert.ok(result.similarity.after > result.similarity.before + 0.1);
    assert.equal(result.memory.measured, result.memory.planned);
    assert.equal(planRegistration(brain.fixed, brain.moving, { method }).plan.peak, result.memory.planned);
    for (const { iterations, residuals, similarities } of result.levels)
      assert.equal([residuals.length, similarities.length], [iterations, iterations]);
  });

  test(`${method}: the same pair gives the same bits`, async () => {
    const [a, b] = [
      await run(brain.fixed, brain.moving, { method, iterations: 6 }),
      await run(brain.fixed, brain.moving, { method, iterations: 6 }),
    ];
    assert.equal(b.displacement, a.displacement);
    assert.equal(b.levels, a.levels);
  });
}

test('adam: the residual that a level tells is its last one, whatever was smaller before', async () => {
  const { levels } = await run(brain.fixed, brain.moving, { method: 'adam', levels: [4], iterations: 40, lambda: 0, affine: 'none' });
  for (const { residual, residuals } of levels) assert.is(residual, residuals.at(-1));
  assert.ok(
    levels.some(({ residual, residuals }) => residual > Math.min(...residuals)),
    'and that tells something',
  );
});

test('the residual that a level tells is that of the field it ends with', async () => {
  const options = resolveOptions({ levels: [4], iterations: 12 }, brain.fixed);
  const windows = { fixed: intensityWindow(brain.fixed.data), moving: intensityWindow(brain.moving.data) };
  const { graph, fixed, moving, levels } = traceRegistration(brain.fixed, brain.moving, options, { windows });
  const { iteration, maxIterations } = levels[0];
  graph.phase('again', () => assign(iteration.z, iteration.best));
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(fixed, brain.fixed.data);
  schedule.upload(moving, brain.moving.data);
  for (const phase of [PREPARE, `${iteration.name}.images`]) schedule.run(phase);
  const rule = { maxIterations, rtol: 0, atol: 0, patience: maxIterations };
  const { residual } = await iterate(schedule, iteration, rule);
  schedule.run('again');
  const [state] = await schedule.runAndRead(iteration.step, iteration.reads);
  const again = readStatistics(state).residual / Math.sqrt(iteration.size);
  assert.ok(Math.abs(again / residual - 1) < 1e-3, `${residual} voxel told, ${again} of the field`);
  schedule.destroy();
});

test('the phantom lung: landmarks come home', async () => {
  const lung = phantom('lung', [40, 48, 56], 1),
    toMoving = voxelToVoxel(lung.fixed.affine, lung.moving.affine);
  const { displacement, intensities } = await run(lung.fixed, lung.moving);
  const error = (u: Float32Array | null) => tre(lung.landmarks, u, size, toMoving, lung.moving).mean;
  assert.is(intensities.fixed.modality, 'ct');
  assert.ok(error(displacement) < 0.5 * error(null), `${error(null)} mm → ${error(displacement)} mm`);
});

test('thick slices: the short axis is kept, and the pair is aligned', async () => {
  const flat = phantom('brain', [48, 56, 16], 2);
  const result = await run(flat.fixed, flat.moving);
  const { before, after, folds } = judge(flat, result);
  assert.ok(result.levels.every(({ size }) => size[2] === 16));
  assert.ok(after > before + 0.08 && folds < 0.05, `Dice ${before} → ${after}, ${folds} % folds`);
});

/**
 * The same image in space with its axes in another order and direction: voxel (i, j, k) of the result is voxel (k, n − 1 − i, j) of the
 * volume.
 */
function reoriented({ data, size: [w, h, d], affine, dtype }: Volume): Volume {
  const turned = new Float32Array(data.length),
    size: Vec3 = [h, d, w];
  let at = 0;
  for (let k = 0; k < w; k++) for (let j = 0; j < d; j++) for (let i = 0; i < h; i++) turned[at++] = data[(j * h + i) * w + (w - 1 - k)];
  return { data: turned, size, affine: composeAffine(affine, [0, 0, -1, w - 1, 1, 0, 0, 0, 0, 1, 0, 0]), dtype };
}

test('axes in another order and direction change nothing but rounding', async () => {
  const options = { levels: [4, 2], iterations: 10, tolerance: 0 };
  const plain = await run(brain.fixed, brain.moving, options),
    turned = await run(brain.fixed, reoriented(brain.moving), options);
  assert.ok(largest(plain.displacement) > 1);
  assert.ok(
    largest(plain.displacement.map((x, i) => x - turned.displacement[i])) < 0.02,
    `${largest(plain.displacement.map((x, i) => x - turned.displacement[i]))}`,
  );
  assert.ok(largest(plain.warped.data.map((x, i) => x - turned.warped.data[i])) < 3);
});

test('an image that lies elsewhere in space is found there', async () => {
  const shift: Vec3 = [5, -4, 3]; // mm; the voxels are 4 mm wide
  const there = reoriented(brain.fixed);
  there.affine = there.affine.map((x, i) => x + (i % 4 === 3 ? shift[Math.floor(i / 4)] : 0));
  const { displacement } = await run(brain.fixed, there);
  const inside = brain.fixedSeg.data,
    n = inside.length;
  const mean = [0, 1, 2].map((c) => {
    const values = displacement.subarray(c * n, (c + 1) * n).filter((_, v) => inside[v] > 0);
    return values.reduce((a, b) => a + b, 0) / values.length;
  });
  const expected = voxelToVoxel(
    brain.fixed.affine,
    brain.fixed.affine.map((x, i) => x - (i % 4 === 3 ? shift[Math.floor(i / 4)] : 0)),
  );
  [3, 7, 11].forEach((i, c) => assert.ok(Math.abs(mean[c] - expected[i]) < 0.1, `axis ${c}: ${mean[c]} for ${expected[i]} voxels`));
});

test('intensities: CT by its air, else up to the 99.5th percentile; neither hot voxels nor holes decide', () => {
  const ramp = Float32Array.from({ length: 10001 }, (_, i) => i / 10);
  const { modality, low, high } = intensityWindow(ramp);
  assert.equal([modality, low, Math.abs(high - 995) < 0.2], ['mri', 0, true]);
  for (const spike of [1e5, 1e9, 1e30]) {
    const hot = ramp.slice();
    hot[5] = spike;
    assert.ok(Math.abs(intensityWindow(hot).high - 995) < 4, `${spike}: ${intensityWindow(hot).high}`);
  }
  assert.ok(Math.abs(intensityWindow(Float32Array.of(0, 0, 5, 5)).high - 5) < 0.01);
  for (const hole of [-600, -32768, -1e9]) {
    const stray = ramp.slice();
    stray[7777] = hole; // as a fill value leaves it
    const { modality, low, high } = intensityWindow(stray);
    const kept = hole === -600; // not as far below the others as these reach
    assert.equal([modality, kept ? low === hole : Math.abs(low - 5) < 1, Math.abs(high - 995) < 1], ['mri', true, true], `${hole}: ${low}`);
  }
  assert.equal(intensityWindow(ramp.map((x) => x - 1000)).modality, 'ct');
});

test('what cannot be registered is refused by name', async () => {
  const { fixed, moving } = brain,
    { ledger } = await gpu(),
    before = ledger.live.total;
  const far = { ...moving, affine: moving.affine.map((x, i) => (i === 3 ? x + 1000 : x)) };
  const broken = { ...moving, data: moving.data.map((x, i) => (i === 77 ? NaN : x)) };
  const empty = { ...fixed, data: new Float32Array(fixed.data.length) };
  for (const [f, m, options, message] of [
    [fixed, far, {}, /^the volumes do not overlap: 0 % of the fixed grid.*affines/],
    [fixed, broken, {}, /^moving: 1 of 107520 voxels are NaN/],
    [empty, moving, {}, /^fixed: all 107520 voxels have the value 0/],
    [fixed, moving, { lamda: 1 }, /unknown option lamda; there are method, .*lambda/],
    [fixed, moving, { method: 'demons' }, /method must be one of equilibrium, adam, deq, got demons/],
    [fixed, moving, { levels: [3] }, /levels must be powers of two.*got 3/],
    [fixed, moving, { levels: [] }, /levels must be powers of two/],
    [fixed, moving, { levels: [1, 2] }, /levels must go from coarse to fine, got 1,2/],
    [fixed, moving, { levels: [4, 2, 2] }, /levels must go from coarse to fine, got 4,2,2/],
    [fixed, moving, { iterations: 0 }, /iterations must be whole numbers above 0/],
    [fixed, moving, { levels: [2, 1], iterations: [1, 2, 3] }, /iterations: 3 values for 2 levels/],
    [fixed, moving, { tolerance: -1 }, /tolerance must be 0 voxels or more, got -1/],
    [fixed, moving, { lambda: NaN }, /lambda must be between 0 and 50 voxel², got NaN/],
    [fixed, moving, { window: 4 }, /window must be an odd whole number.*got 4/],
  ] as [Volume, Volume, object, RegExp][])
    assert.match(await rejection(run(f, m, options)), message);
  assert.is(ledger.live.total, before, 'nothing is left behind');
});

test('one iteration, one level, two slices: all work', async () => {
  const slices = ({ data, ...volume }: Volume): Volume => ({ ...volume, size: [40, 48, 2], data: data.slice(25 * 1920, 27 * 1920) });
  const thin = await run(slices(brain.fixed), slices(brain.moving), { iterations: 5 });
  assert.ok(thin.displacement.every(Number.isFinite) && thin.similarity.after > thin.similarity.before);
  const once = await run(brain.fixed, brain.moving, { levels: [4], iterations: 1 });
  assert.equal(
    once.levels.map(({ result, iterations }) => [result, iterations]),
    [['max-iterations', 1]],
  );
  assert.ok(largest(once.displacement) > 0.1);
});

test('levels: voxels joined by twos, the rest in one of its own; thick and short axes keep theirs; the same space', () => {
  const grid = { size: [45, 46, 17] as Vec3, affine: [1.0000001, 0, 0, 3, 0, 1, 0, -5, 0, 0, 4, 7] };
  assert.equal(
    [1, 2, 4, 8].map((mm) => levelGrid(grid, mm).size),
    [[45, 46, 17], [23, 23, 17], [12, 12, 17], [12, 12, 17]], // prettier-ignore
  );
  const { affine, size } = levelGrid(grid, 2);
  const corner = (of: Grid, at: (n: number) => number) => applyAffine(of.affine, of.size.map(at) as Vec3);
  for (const at of [() => -0.5, (n: number) => n - 0.5])
    corner({ affine, size }, at).forEach((x, axis) => assert.ok(Math.abs(x - corner(grid, at)[axis]) < 1e-4));
});

test('each level has its own λ, whatever the method', () => {
  for (const method of ['equilibrium', 'adam'] as const) {
    const options = resolveOptions({ method, levels: [4, 2], lambda: [0.5, 0.02] }, brain.fixed);
    const window = { modality: 'mri' as const, low: 0, high: 1 };
    const { graph } = traceRegistration(brain.fixed, brain.moving, options, { windows: { fixed: window, moving: window } });
    const sigmas = (level: string) =>
      new Set(
        graph.nodes
          .filter(({ op, phase }) => op.name === 'gaussian' && graph.phases[phase].startsWith(level))
          .map(({ attrs }) => attrs.sigma.toFixed(3)),
      );
    const [coarse, fine] = [sigmas('level 4.'), sigmas('level 2.')];
    assert.equal([coarse.has('1.000'), coarse.has('0.200'), fine.has('1.000'), fine.has('0.200')], [true, false, false, true], method); // σ = √(2λ)
  }
});

test('by default three levels, and a few evaluations on a finer one where it is not too large', () => {
  const grid = (...size: Vec3) => ({ affine: brain.fixed.affine, size });
  const resolved = (at: Grid, options: RegisterOptions = {}) => {
    const { levels, iterations, lambda, refine } = planRegistration(at, at, options).options;
    return [levels, iterations, lambda, refine?.factor];
  };
  const refined = (at: Grid, options?: RegisterOptions) => {
    const { refine } = planRegistration(at, at, options).options;
    return refine && [refine.factor, refine.iterations, refine.lambda, refine.tolerance, refine.window];
  };
  const whole = grid(160, 192, 224);
  assert.equal(resolved(grid(128, 128, 128)), [[4, 2, 1], [150, 150, 80], [0.245, 0.18, 0.08], undefined]); // prettier-ignore
  assert.equal(resolved(whole), [[8, 4, 2], [150, 150, 80], [0.245, 0.18, 0.08], 1]); // prettier-ignore
  assert.equal(resolved(grid(256, 256, 160)), [[8, 4, 2], [150, 150, 80], [0.245, 0.18, 0.08], undefined]); // prettier-ignore
  assert.equal(refined(grid(1000, 1000, 8)), undefined, 'buffers too large with half a window around');
  assert.equal(resolved(whole, { levels: [16, 4, 2, 1] }), [[16, 4, 2, 1], [150, 150, 80, 80], [0.245, 0.18, 0.08, 0.08], undefined]); // prettier-ignore
  assert.equal(resolved(whole, { levels: [1] }), [[1], [80], [0.08], undefined]); // prettier-ignore
  assert.equal(resolved(whole, { method: 'adam' }), [[8, 4, 2], [60, 60, 40], [0.245, 0.18, 0.08], 1]); // prettier-ignore
  assert.equal(refined(whole), [1, 3, 0.1, 0.006, 11]);
  assert.equal(refined(whole, { refine: 0 }), undefined);
  assert.equal(
    refined(whole, { lambda: [0.3, 0.3, 0.2], tolerance: 0.01, iterations: 9, window: 7 }),
    [1, 3, 0.2, 0.01, 7],
    'as smooth as the last level, and as local',
  );
  assert.equal(refined(grid(128, 128, 128), { refine: 5 }), [1, 5, 0.08, 0.006, 11], 'no finer level');
  const { slots } = planRegistration(whole, whole).plan;
  assert.ok(Math.max(...slots.map(({ bytes }) => bytes)) <= LEAST_BINDING, 'every adapter binds them');
});

test('by default CT and thick slices are smoothed more', () => {
  const lambda = (at: Described, options: RegisterOptions = {}) => {
    const { lambda, refine } = planRegistration(at, at, options).options;
    return [lambda, refine?.lambda];
  };
  const spaced = (k: number): Grid => ({ size: [160, 192, 224], affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, k, 0] });
  const usual = [[0.245, 0.18, 0.08], 0.1];
  const smoother = [[0.4, 0.3, 0.2], 0.2];
  assert.equal(lambda(spaced(4)), usual);
  assert.equal(lambda(spaced(4.1))[0], smoother[0]);
  assert.equal(lambda(spaced(1), { modality: 'ct' }), smoother);
  assert.equal(lambda(spaced(1), { modality: 'ct', method: 'adam' }), smoother);
  const repeated = (values: Float32Array) => Float32Array.from({ length: 160 * 192 * 224 }, (_, v) => values[v % values.length]);
  const air = repeated(new Float32Array(1000).fill(-900, 0, 100).fill(-1000, 100, 200));
  assert.equal(lambda({ ...spaced(1), data: air }), smoother, 'CT by its values');
  assert.equal(lambda({ ...spaced(1), data: air }, { modality: 'mri' }), usual);
  const [few, mask] = [new Float32Array(1e5).fill(-900, 0, 50), new Float32Array(1e5).fill(1, 0, 100)];
  few[50] = -1000;
  const [fewAll, maskAll] = [repeated(few), repeated(mask)];
  assert.equal(lambda({ ...spaced(1), data: fewAll }), usual, 'too little air');
  assert.equal(lambda({ ...spaced(1), data: fewAll, mask: maskAll }), smoother, 'but not inside the mask');
  assert.equal(lambda(spaced(1), { modality: 'ct', lambda: 0.1 }), [[0.1, 0.1, 0.1], 0.1]);
});

test('the finer level finds more, without folds', async () => {
  const pair = phantom('brain', [130, 130, 130], 3);
  const whole = await run(pair.fixed, pair.moving);
  assert.equal(whole.levels.map(({ factor, stage }) => [factor, stage]), [[8, undefined], [4, undefined], [2, undefined], [1, 'refine']]); // prettier-ignore
  const [coarse, fine] = [judge(pair, await run(pair.fixed, pair.moving, { refine: 0 })), judge(pair, whole)];
  assert.ok(fine.after > coarse.after + 0.002, `Dice ${coarse.after} → ${fine.after}`);
  assert.is(fine.folds, 0);
});

const heart = realCases().find(({ name }) => name === 'cardiac A1D0Q7');
const onHeart = heart && existsSync(heart.fixedSeg) ? test : test.skip;
if (onHeart !== test) console.log('skipped: no cardiac pair in the data folder');

onHeart('an equilibrium that is solved on stays: a real heart at rest, which steps without damping leave', async () => {
  const [fixed, moving] = (await Promise.all([heart!.fixed, heart!.moving].map(readVolume))) as [Volume, Volume];
  const { levels } = await run(fixed, moving, { iterations: 200, tolerance: 0 });
  const ends = levels.map(({ residuals }) => residuals.at(-1)!);
  assert.ok(
    ends.every((residual) => residual < 0.01),
    `RMS residuals ${ends} voxel after 200 evaluations`, // 0.0002, 0.002, 0.005; with β = 1 0.02 on the last level
  );
});

onHeart('a real heart, 8 mm slices', async () => {
  const [fixed, moving, fixedSeg, movingSeg] = (await Promise.all(
    [heart!.fixed, heart!.moving, heart!.fixedSeg, heart!.movingSeg].map(readVolume),
  )) as Volume[] as [Volume, Volume, Volume, Volume];
  const { before, after, folds } = judge({ fixed, moving, fixedSeg, movingSeg }, await run(fixed, moving));
  assert.ok(after > before + 0.25, `Dice ${before} → ${after}`); // 0.522 → 0.789
  assert.ok(folds < 0.01, `${folds} % folds`);
});

test.run();
