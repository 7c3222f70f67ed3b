// Training by its parts: what each level starts from, how its loss is weighted, what an update does to weights and averages, and what the
// loop makes of validations, stages and divergence.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  add,
  adjointOf,
  beginTraining,
  cellOf,
  cells,
  checkCell,
  concat,
  convolve,
  encodeModel,
  Graph,
  layer,
  normal,
  Parameters,
  parseModel,
  register,
  runTrainingStep,
  scale,
  Schedule,
  similarityStep,
  storedAs,
  traceTrainingStep,
  type TrainingPair,
  type TrainingStepOptions,
  unitGrid,
} from '../src/index.ts';
import { phantom } from '../src/register/phantom.ts';
import { seededRandom } from '../src/ops/random.ts';
import { drawAugmentation } from '../src/train/augment.ts';
import { augmentations } from '../src/train/augment-options.ts';
import { readState, valuesOf } from '../src/train/checkpoint.ts';
import { type Checkpoint } from '../src/train/checkpoint.ts';
import { majority, type TrainingSet } from '../src/train/data.ts';
import { watchLoss } from '../src/train/loss-watch.ts';
import { learningRate, modelOf, resolveTrainOptions } from '../src/train/options.ts';
import { type StepRecord, train, traceStage } from '../src/train/train.ts';
import { validatePairs } from '../src/train/validate.ts';
import { gpu } from './gpu.ts';
import { relativeError } from './reference/ndarray.ts';
import { card } from './trained.ts';

const device = await gpu();
const SIZE = [16, 20, 24] as [number, number, number];
const { fixed, moving, fixedSeg, movingSeg } = phantom('brain', SIZE, 3);
const unit = (x: Float32Array) => x.map((value) => value / 255);
const labels = [2, 3, 41, 42];
const pair: TrainingPair = { fixed: unit(fixed.data), moving: unit(moving.data), labels: { fixed: fixedSeg.data, moving: movingSeg.data } };
const given: TrainingStepOptions = {
  grid: unitGrid(SIZE),
  cell: 'deqreg',
  channels: 4,
  similarity: 'detached',
  adjoint: { adjoint: 'jfb' },
  levels: [2, 1],
  loss: { similarity: 'lncc', diffusion: 0.5, dice: 3 },
  labels,
};
const run = { rate: 1e-3, maxIterations: 8 };

/** One step from the weights of seed 1: its outcome, and weights and averages before and after. */
async function step(more: Partial<TrainingStepOptions> = {}, over: Partial<TrainingPair> = {}, how: { tolerance?: number } = {}) {
  const traced = traceTrainingStep({ ...given, ...more });
  const schedule = await Schedule.build(device, traced.graph);
  try {
    beginTraining(schedule, traced, 1);
    const values = async (kind: 'weight' | 'average') =>
      [...valuesOf(await readState(schedule, traced), kind).values()].flatMap(({ data }) => [...data]);
    const before = await values('weight');
    const outcome = await runTrainingStep(schedule, traced, { ...pair, ...over }, { ...run, ...how });
    return { outcome, before, weights: await values('weight'), averages: await values('average') };
  } finally {
    schedule.destroy();
  }
}

test('the averages go by 1 − averaging of the way that the weights go', async () => {
  const { before, weights, averages } = await step({ averaging: 0.9 });
  const way = (to: number[]) => to.map((x, i) => x - before[i]);
  assert.ok(Math.max(...way(weights).map(Math.abs)) > 5e-4, 'the weights move');
  assert.ok(
    relativeError(
      way(averages),
      way(weights).map((x) => 0.1 * x),
    ) < 1e-3,
  );
});

test('a cell of one’s own is trained, saved, read and solved by its name', async () => {
  cells.mine = (graph, options) => {
    checkCell('mine', options);
    const parameters = new Parameters(graph);
    const [enter, leave] = [layer(parameters, 'enter', 5, options.channels), layer(parameters, 'leave', options.channels, 3, normal(1e-2))];
    const network = storedAs(options.dtype, (seen) => convolve(convolve(seen, enter), leave, { activation: 'none' }));
    return cellOf(parameters, (images) => (u) => {
      const { step, warped, similarity } = similarityStep(images, u, options.similarity);
      return { next: add(add(u, scale(step, 0.3)), network(concat(u, images.fixed.image, warped))), monitor: similarity };
    });
  };
  try {
    const { outcome, before, weights } = await step({ cell: 'mine' });
    assert.ok(Number.isFinite(outcome.loss) && weights.some((x, i) => x !== before[i]));
    const values = cells.mine(new Graph(), { channels: 4, similarity: 'exact' }).parameters.initial(1);
    const bytes = encodeModel({ cell: 'mine', channels: 4, window: 5, modality: 'mri', values }, card);
    const { model } = parseModel('mine.safetensors', bytes);
    const { levels } = await register(device, fixed, moving, { method: 'deq', model, levels: [2], iterations: 4, tolerance: 0 });
    assert.ok(levels[0].residuals.length === 4 && levels[0].residuals.every((r) => Number.isFinite(r) && r > 0));
    delete cells.mine;
    assert.throws(() => parseModel('mine.safetensors', bytes), /cell mine is none of deqreg, gradirn/);
  } finally {
    delete cells.mine;
  }
});

test('a step whose gradients are no numbers moves nothing', async () => {
  const broken = pair.fixed.with(1000, NaN);
  const { outcome, before, weights } = await step({}, { fixed: broken });
  assert.not.ok(Number.isFinite(outcome.gradientNorm));
  assert.equal(weights, before);
});

test('the loss of a level: similarity, diffusion and Dice by their weights', async () => {
  const at = async (loss: Partial<NonNullable<TrainingStepOptions['loss']>>) =>
    (await step({ levels: [1], loss: { similarity: 'lncc', diffusion: 0, dice: 0, ...loss } })).outcome;
  const [plain, smooth, overlap] = [await at({}), await at({ diffusion: 2 }), await at({ dice: 3 })];
  assert.ok(Math.abs(plain.loss + plain.similarity) < 1e-6);
  assert.ok(smooth.loss > plain.loss);
  assert.ok(Math.abs(overlap.loss - (plain.loss + 3 * overlap.dice!)) < 1e-5, `${overlap.loss}, ${plain.loss}, ${overlap.dice}`);
});

if (device.device.features.has('shader-f16'))
  test('f16: losses and gradients of all levels are those of f32, to its digits', async () => {
    const [full, half] = [await step(), await step({ dtype: 'f16' })];
    const close = (a: number, b: number, what: string) => assert.ok(Math.abs(a / b - 1) < 0.02, `${what}: ${a}, ${b}`);
    close(half.outcome.gradientNorm, full.outcome.gradientNorm, 'gradient norm');
    full.outcome.levels.forEach(({ loss }, i) => close(half.outcome.levels[i].loss, loss, `loss of level ${i}`));
    const way = ({ before, weights }: typeof full) => weights.map((x, i) => x - before[i]);
    assert.ok(relativeError(way(half), way(full)) < 0.3, `${relativeError(way(half), way(full))}`); // Adam's first step is a sign
  });
else console.log('train-step: the adapter has no shader-f16; it is not compared');

test('implicit: a tolerance in voxels ends the forward solve, and not the adjoint one, whose values are far smaller', async () => {
  const { outcome } = await step({ adjoint: { adjoint: 'implicit' }, levels: [1] }, {}, { tolerance: 0.05 });
  const [{ forward, backward }] = outcome.levels as [(typeof outcome.levels)[number]];
  assert.is(forward!.result, 'converged');
  assert.is(backward!.iterations, run.maxIterations);
});

/** Labels of the phases in which a tensor is read. */
const readIn = (graph: Graph, tensor: unknown) =>
  new Set(graph.nodes.filter(({ inputs }) => inputs.includes(tensor as never)).map(({ phase }) => graph.phases[phase]));
const attrsOf = (graph: Graph, op: string) => graph.nodes.filter((node) => node.op.name === op).map(({ attrs }) => attrs);

test('each level starts from the result of the one before', () => {
  const { graph, levels } = traceTrainingStep({ ...given, levels: [4, 2, 1] });
  for (const [i, { node }] of levels.entries()) {
    const elsewhere = [...readIn(graph, node.y)].filter((phase) => !phase.startsWith(`level ${[4, 2, 1][i]}.`) && /^level/.test(phase));
    assert.equal(
      elsewhere.map((phase) => phase.split('.')[0]),
      i < 2 ? [`level ${[2, 1][i]}`] : [],
    );
  }
});

test('thick slices: the loss’s diffusion is in millimetres', () => {
  const grid = { ...unitGrid(SIZE), affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0] };
  const { graph } = traceTrainingStep({ ...given, grid, levels: [1] });
  const [diffusion] = attrsOf(graph, 'diffusion');
  assert.equal(diffusion.weights, [1, 1, 0.25]);
});

const set: TrainingSet = {
  grid: unitGrid(SIZE),
  subjects: [
    { id: 'a', image: pair.fixed, labels: fixedSeg.data },
    { id: 'b', image: pair.moving, labels: movingSeg.data },
  ],
};
const small = {
  channels: 4,
  window: 5,
  rate: 5e-3,
  warmUp: 0,
  averaging: 0.5,
  augmentation: 'none',
  solver: { minIterations: 3, maxIterations: 4, tolerance: 0.01 },
} as const;

test('a stage that ends on a coarse level has the λ of its own levels', () => {
  const options = resolveTrainOptions({
    ...small,
    lambda: [0.32, 0.08],
    stages: [
      { levels: [4], steps: 1 },
      { levels: [4, 2], steps: 1 },
    ],
  });
  const sigmas = new Set(
    attrsOf(traceStage(options, set, options.stages[0], labels).graph, 'gaussian').map(({ sigma }) => sigma.toFixed(4)),
  );
  assert.ok(sigmas.has('0.8000') && !sigmas.has('0.4000'), [...sigmas].join()); // σ = √(2λ)
});

test('what is validated and kept are the averages of the weights, at that step', async () => {
  const options = resolveTrainOptions({ ...small, stages: [{ levels: [2], steps: 2 }], validateEvery: 1, checkpointEvery: 1 });
  const validated: number[][] = [];
  const kept: Checkpoint[] = [];
  await train(device, set, labels, options, {
    validate: async (values) => {
      validated.push([...values.values()].flatMap(({ data }) => [...data]));
      return { score: validated.length, figures: {} };
    },
    onCheckpoint: async (one) => void kept.push(one),
  });
  const of = (one: Checkpoint, kind: 'weight' | 'average') => [...valuesOf(one.tensors, kind).values()].flatMap(({ data }) => [...data]);
  for (const one of kept) {
    assert.equal(validated[one.step], of(one, 'average'), `step ${one.step}`);
    assert.not.equal(of(one, 'weight'), of(one, 'average'));
  }
  assert.equal(
    [...kept.at(-1)!.best!.values.values()].flatMap(({ data }) => [...data]),
    validated[2],
  );
});

test('a validation by landmarks alone: the nearer, the higher its score; by labels, their Dice', async () => {
  const options = resolveTrainOptions({ ...small, stages: [{ levels: [4], steps: 1 }] });
  const initial = cells.deqreg(new Graph(), { channels: 4, similarity: 'exact' }).parameters.initial(1);
  const { landmarks } = phantom('brain', SIZE, 3);
  const pair = { name: 'p', fixed, moving };
  const of = (more: object) => validatePairs(device, modelOf(options, 'mri', initial, [4]), [{ ...pair, ...more }], [4]);
  const [near, far] = [
    await of({ landmarks }),
    await of({ landmarks: { ...landmarks, moving: landmarks.moving.map((x) => (x < 8 ? x + 3 : x - 3)) } }),
  ];
  assert.is(near.score, -near.figures.tre);
  assert.ok(near.score > far.score, `${near.score}, ${far.score}`);
  const both = await of({ landmarks, segmentation: { fixed: fixedSeg, moving: movingSeg, labels } });
  assert.equal([both.score, both.figures.tre], [both.figures.dice, near.figures.tre]);
  const neither = await of({});
  assert.is(neither.score, neither.figures.lncc);
});

test('after a rollback the steps are taken at half the rate', async () => {
  const options = resolveTrainOptions({
    ...small,
    cell: 'gradirn',
    stages: [{ levels: [2], steps: 40 }],
    rate: 1,
    clip: 1e6,
  });
  const records: StepRecord[] = [];
  const scales: number[] = [];
  let scale = 1;
  await train(device, set, labels, options, {
    onStep: (record) => {
      records.push(record);
      scales.push(scale);
    },
    onRollback: ({ rateScale }) => (scale = rateScale),
  }).catch(() => {});
  assert.ok(scale < 1, 'it has diverged');
  records.forEach(({ step, rate }, i) => assert.is(rate, learningRate(options)(step - 1) * scales[i]));
});

test('divergence goes back before the checkpoint whose next step was bad', async () => {
  const options = resolveTrainOptions({
    ...small,
    cell: 'gradirn',
    stages: [{ levels: [2], steps: 60 }],
    rate: 0.3,
    warmUp: 40,
    clip: 1e6,
    checkpointEvery: 1,
  });
  const gone: number[] = [];
  const onRollback = ({ step, to, loss }: { step: number; to: number; loss: number }) =>
    void (Number.isFinite(loss) && to && gone.push(step - to));
  await train(device, set, labels, options, { onRollback }).catch(() => {});
  assert.ok(gone.length && gone.every((steps) => steps >= 6), `${gone}`); // five that were bad, and the one that was well after the checkpoint
});

test('a new stage forgets the losses of the one before', async () => {
  const options = resolveTrainOptions({ ...small, stages: [2, 1].map((level) => ({ levels: [level], steps: 2 })) });
  const records: StepRecord[] = [];
  const kept = await train(device, set, labels, options, { onStep: (record) => records.push(record), stop: () => records.length === 3 });
  const { loss, softDice, gradientNorm } = records[2];
  assert.equal(kept.watch, watchLoss({ bad: 0 }, { loss, dice: 1 - softDice!, gradientNorm }, options.loss.dice).watch);
});

test('the best of a stage’s last step is the next one’s only by the next one’s levels', async () => {
  const options = resolveTrainOptions({ ...small, stages: [2, 1].map((level) => ({ levels: [level], steps: 2 })), validateEvery: 1 });
  const scores = [0.1, 0.2, 0.9, 0.3, 0.4, 0.35];
  const seen: string[] = [];
  const { best } = await train(device, set, labels, options, {
    validate: async (_, levels) => ({ score: scores[seen.push(levels.join()) - 1], figures: {} }),
  });
  assert.equal(seen, ['2', '2', '2', '1', '1', '1']);
  assert.equal([best!.step, best!.score, best!.levels], [3, 0.4, [1]]);
});

test('a run goes on with the pairs that were prescribed, and no others', async () => {
  const options = resolveTrainOptions({ ...small, stages: [{ levels: [2], steps: 2 }] });
  const pairs = [[0, 1]] as const;
  const kept = await train(device, { ...set, pairs }, labels, options, { stop: () => true });
  const refused = await train(device, { ...set, pairs: [[1, 0]] }, labels, options, {}, kept).then(
    () => 'nothing was refused',
    ({ message }: Error) => message,
  );
  assert.match(refused, /with other images$/);
});

test('majorities of labels on a grid that is no cube', () => {
  const [from, to] = [
    [4, 2, 6],
    [2, 1, 3],
  ].map((size) => ({ ...unitGrid(size as [number, number, number]) }));
  const map = Float32Array.from({ length: 48 }, (_, v) => 1 + Math.floor((v % 4) / 2) + 10 * Math.floor(v / 16)); // two columns, three slabs
  assert.equal([...majority(map, from, to)], [1, 2, 11, 12, 21, 22]);
});

test('the moving image’s own map comes before the common one', () => {
  const size = [9, 9, 9] as const,
    spacing = [1, 1, 1] as const;
  const turn = { ...augmentations.none, common: { ...augmentations.none.common, rotation: 40 } };
  const both = { ...turn, moving: { ...augmentations.none.moving, translation: 3 } };
  const [shared, own] = [turn, both].map((options) => drawAugmentation(seededRandom(5), options, { size, spacing }));
  const [a, b] = [shared.fixedMatrix, own.movingMatrix];
  assert.equal([...a], [...own.fixedMatrix]);
  // images are sampled at shared(own(p)): the own shift t becomes A·t
  const drawn = drawAugmentation(seededRandom(5), { ...augmentations.none, moving: both.moving }, { size, spacing }).movingMatrix;
  const t = [3, 7, 11].map((i) => drawn[i]);
  const shift = [0, 1, 2].map((row) => [0, 1, 2].reduce((sum, column) => sum + a[4 * row + column] * t[column], a[4 * row + 3]));
  assert.ok(Math.hypot(...t) > 0.5);
  shift.forEach((x, row) => assert.ok(Math.abs(b[4 * row + 3] - x) < 1e-5));
});

test('adjoints by their names', () => {
  assert.equal([adjointOf('jfb', 4), adjointOf('unrolled', 4)], [{ adjoint: 'jfb' }, { adjoint: 'unrolled', steps: 4 }]);
});

test.run();
