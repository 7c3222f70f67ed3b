// register() with a trained cell: what its weights say is what happens, in the memory planned; and what does not fit together is refused.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { gradirn, Graph, planRegistration, register, type RegisterOptions, type Volume } from '../src/index.ts';
import { type Vec3, voxelToVoxel } from '../src/io/affine.ts';
import type { Grid } from '../src/io/volume.ts';
import { dice, jacobianStats, presentLabels, warpLabels } from '../src/register/metrics.ts';
import { phantom } from '../src/register/phantom.ts';
import { gpu } from './gpu.ts';
import { handMade } from './trained.ts';

const size: Vec3 = [40, 48, 56];
const brain = phantom('brain', size, 1);
const model = handMade(0.6);
const run = async (options: RegisterOptions, { fixed, moving }: { fixed: Volume; moving: Volume } = brain) =>
  register(await gpu(), fixed, moving, { method: 'deq', ...options });

const labels = presentLabels(brain.fixedSeg.data, brain.movingSeg.data);
const toMoving = voxelToVoxel(brain.fixed.affine, brain.moving.affine);
const overlap = (u: Float32Array) => dice(brain.fixedSeg.data, warpLabels(brain.movingSeg.data, size, u, size, toMoving), labels).mean;
const before = overlap(new Float32Array(3 * brain.fixed.data.length));

test('a cell that takes the similarity’s step aligns the phantom without a fold, in the memory planned', async () => {
  const { displacement, similarity, levels, memory, options, intensities } = await run({ model });
  const after = overlap(displacement);
  assert.ok(before < 0.7 && after > before + 0.12, `Dice ${before} → ${after}`);
  assert.is(jacobianStats(displacement, size).grid.foldingPercent, 0);
  assert.ok(similarity.after > similarity.before + 0.1);
  assert.equal(memory.measured, memory.planned);
  assert.equal(planRegistration(brain.fixed, brain.moving, { method: 'deq', model }).plan.peak, memory.planned);
  for (const { iterations, residuals, similarities } of levels)
    assert.equal([residuals.length, similarities.length], [iterations, iterations]);
  assert.ok(Math.abs(levels.at(-1)!.similarities.at(-1)! - similarity.after) < 0.02, 'the monitor is the LNCC of the level');
  assert.equal([options.method, options.window, options.modality, intensities.fixed.modality], ['deq', 9, 'mri', 'mri']);
  assert.not.ok('step' in options);
  assert.equal(options.lambda, []);
});

test('weights of zero move nothing', async () => {
  const { displacement, levels } = await run({ model: handMade(0) });
  assert.ok(displacement.every((x) => x === 0));
  assert.equal(
    levels.map(({ result, similarities }) => [result, new Set(similarities).size]),
    levels.map(() => ['converged', 1]),
  );
});

test('lambda: of the model, or as asked for; more of it is smoother', async () => {
  const smooth = { ...model, lambda: [0.3, 0.2, 0.1] };
  const [own, asked] = [await run({ model: smooth }), await run({ model: smooth, lambda: 0.6 })];
  assert.equal(own.options.lambda, [0.3, 0.2, 0.1].slice(-own.levels.length));
  const spread = ({ displacement }: typeof own) => jacobianStats(displacement, size).grid.sdLogJ;
  assert.ok(spread(asked) < spread(own), `${spread(asked)} against ${spread(own)}`);
});

test('refine: the classical cell from the fixed point on, as one more entry', async () => {
  const model = handMade(0.2, { window: 11 }); // the classical cell's: the similarities compare
  const [plain, refined] = [await run({ model, iterations: 6 }), await run({ model, iterations: 6, refine: 8 })];
  assert.equal(refined.levels.slice(0, -1), plain.levels);
  const last = refined.levels.at(-1)!;
  assert.equal([last.stage, last.factor, last.maxIterations], ['refine', plain.levels.at(-1)!.factor, 8]);
  assert.ok(last.iterations <= 8 && refined.similarity.after > plain.similarity.after + 0.003);
  assert.is(refined.similarity.before, plain.similarity.before);
  assert.ok(overlap(refined.displacement) > overlap(plain.displacement));
  assert.equal(refined.memory.measured, refined.memory.planned);
  assert.not.ok(plain.levels.some((level) => 'stage' in level));
  const still = await run({ model: handMade(0), refine: 8 });
  assert.ok(still.displacement.some((x) => Math.abs(x) > 0.1));
});

test('refine is at twice the last level’s resolution, or on that level; by default there is none', () => {
  const whole: Grid = { size: [160, 192, 224], affine: brain.fixed.affine };
  const refined = (options: RegisterOptions) => {
    const resolved = planRegistration(whole, whole, { method: 'deq', model: handMade(0.2), refine: 3, ...options }).options;
    return [resolved.levels, resolved.refine?.factor, resolved.refine?.lambda];
  };
  assert.equal(refined({}), [[8, 4, 2], 1, 0.1]);
  assert.equal(refined({ levels: [8, 4] }), [[8, 4], 2, 0.1]);
  assert.equal(refined({ levels: [2, 1] }), [[2, 1], 1, 0.08]);
  assert.equal(refined({ refine: undefined }), [[8, 4, 2], undefined, undefined]);
});

test('a model says how it is solved, options come before it, and the same pair gives the same bits', async () => {
  const own = handMade(0.6, { iterations: [3, 2], tolerance: [0.5, 0, 0.25] });
  const budget = ({ iterations, tolerance }: { iterations: readonly number[]; tolerance: readonly number[] }) => [iterations, tolerance];
  const resolved = (options: RegisterOptions) =>
    budget(planRegistration(brain.fixed, brain.moving, { method: 'deq', model: own, ...options }).options);
  assert.equal(resolved({}), [
    [3, 3, 2],
    [0.5, 0, 0.25],
  ]);
  assert.equal(resolved({ iterations: 7, levels: [2], tolerance: [0.1] }), [[7], [0.1]]);
  const [a, b] = [await run({ model: own }), await run({ model: own })];
  assert.equal(b.displacement, a.displacement);
  assert.equal(
    a.levels.map(({ maxIterations, tolerance }) => [maxIterations, tolerance]),
    [
      [3, 0.5],
      [3, 0],
      [2, 0.25],
    ],
  );
});

test('a mask and the affine stage, in the memory planned', async () => {
  const mask = brain.fixedSeg.data.map((label) => Number(label > 0));
  const masked = { fixed: { ...brain.fixed, mask }, moving: brain.moving };
  const { memory, displacement } = await run({ model, affine: 'rigid' }, masked);
  assert.ok(overlap(displacement) > before + 0.1);
  assert.equal(memory.measured, memory.planned);
});

test('the other cell', async () => {
  const { parameters } = gradirn(new Graph(), { channels: 4, similarity: 'exact' });
  const other = { ...model, cell: 'gradirn' as const, values: parameters.initial(1) };
  const { memory, similarity } = await run({ model: other, iterations: 4 });
  assert.ok(similarity.after > similarity.before);
  assert.equal(memory.measured, memory.planned);
});

test('what does not fit together is refused by name', async () => {
  const { ledger } = await gpu();
  const live = ledger.live.total;
  const without = (name: string) => new Map([...model.values].filter(([key]) => key !== name));
  const air = { ...brain.fixed, data: brain.fixed.data.map((x) => x - 1000) };
  for (const [options, message, pair] of [
    [{}, /^model is missing: method deq needs a trained one/],
    [{ model, lambda: 0.1 }, /^lambda does not apply to this model/],
    [{ model: { ...model, lambda: [-1] } }, /^model: lambda must be a list/],
    [{ model, window: 9 }, /^window does not apply to method deq/],
    [{ model, modality: 'ct' }, /^modality ct contradicts the model, which was trained on mri/],
    [{ model, refine: -1 }, /^refine must be a whole number of 0 or more, got -1/],
    [{ method: 'equilibrium', model }, /^model does not apply to method equilibrium/],
    [{ model: { ...model, values: without('enter.bias') } }, /^model: parameters: missing enter\.bias; unknown none/],
    [{ model: { ...model, channels: 8 } }, /^model: parameter enter\.weight is \[8,8,3,3,3\], the value \[4,8,3,3,3\]/],
    [{ model: { ...model, window: 4 } }, /^model: window must be an odd/],
    [{ model: { ...model, cell: 'unet' } }, /^model: cell unet is none of deqreg, gradirn/],
    [{ model }, /^fixed: its values look like CT.*the model was trained on mri/, { ...brain, fixed: air }],
    [{ model }, /^moving: its values look like CT.*the model was trained on mri/, { ...brain, moving: air }],
    [
      { model: { ...model, modality: 'ct' } },
      /^modality ct: all values/,
      { ...brain, fixed: { ...air, data: air.data.map((x) => x + 3000) } },
    ],
  ] as [RegisterOptions, RegExp, typeof brain | undefined][])
    assert.match(
      await run(options, pair).then(
        () => 'nothing was refused',
        (error: Error) => error.message,
      ),
      message,
    );
  assert.is(ledger.live.total, live, 'nothing is left behind');
  assert.ok(await run({ model, modality: 'mri', iterations: 1 }, { ...brain, fixed: air }), 'but who says so may');
});

test.run();
