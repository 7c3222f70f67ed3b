// The training loop in process: it learns, goes on from a checkpoint to the same bits, takes back what diverges, and takes the planned
// memory.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { augmentations, plan } from '../src/index.ts';
import type { Grid } from '../src/io/volume.ts';
import { phantom } from '../src/register/phantom.ts';
import { seededRandom } from '../src/ops/random.ts';
import { type Checkpoint, encodeCheckpoint, parseCheckpoint } from '../src/train/checkpoint.ts';
import { coarsen, drawPair, majority, prepareSubject, type TrainingSet } from '../src/train/data.ts';
import { atLevels, type GivenTrainOptions, learningRate, modelOf, resolveTrainOptions, type TrainOptions } from '../src/train/options.ts';
import { type LossWatch, watchLoss } from '../src/train/loss-watch.ts';
import { type StepRecord, train, type TrainHooks, traceStage } from '../src/train/train.ts';
import { gpu } from './gpu.ts';

const device = await gpu();
const SIZE = [20, 24, 28] as const;

async function brains(seeds: number[]): Promise<{ set: TrainingSet; labels: number[] }> {
  const subjects: TrainingSet['subjects'] = [];
  let grid: Grid | undefined;
  const labels = new Set<number>();
  for (const seed of seeds) {
    const { fixed, moving, fixedSeg, movingSeg } = phantom('brain', SIZE, seed);
    for (const [id, image, map] of [
      [`${seed}a`, fixed, fixedSeg],
      [`${seed}b`, moving, movingSeg],
    ] as const) {
      const { grid: on, ...prepared } = await prepareSubject(device, id, image, map, 1, 'mri');
      map.data.forEach((value) => value && labels.add(value));
      subjects.push(prepared);
      grid = on;
    }
  }
  return { set: { grid: grid!, subjects }, labels: [...labels].sort((a, b) => a - b) };
}
const { set, labels } = await brains([1, 2]);

const small: GivenTrainOptions = {
  channels: 4,
  window: 5,
  stages: [
    { levels: [2], steps: 3 },
    { levels: [2, 1], steps: 3 },
  ],
  rate: 5e-3,
  warmUp: 2,
  solver: { minIterations: 3, maxIterations: 5, tolerance: 0.01 },
  checkpointEvery: 2,
};
const bits = ({ tensors }: Checkpoint) =>
  Object.fromEntries([...tensors].map(([name, { data }]) => [name, Buffer.from(data.slice().buffer).toString('base64')]));

test('the loss of the same pair falls, Dice rises; every step takes the memory that was planned', async () => {
  const pair: TrainingSet = { ...set, subjects: set.subjects.slice(0, 2) };
  const options = resolveTrainOptions({ ...small, stages: [{ levels: [1], steps: 17 }], augmentation: 'none', checkpointEvery: 16 });
  // With a last layer as weak as noise: as it starts, it is nearly done with this pair.
  const first = await train(device, pair, labels, options, { stop: () => true });
  const weak = new Map(
    [...first.tensors].map(([name, value]) => [
      name,
      name.endsWith('leave.weight') ? { ...value, data: value.data.map((w) => w / 100) } : value,
    ]),
  );
  const records: StepRecord[] = [];
  const before = device.ledger.live.total;
  await train(device, pair, labels, options, { onStep: (record) => records.push(record) }, { ...first, tensors: weak });
  const last = (of: (record: StepRecord) => number) => records.slice(-4).reduce((sum, r) => sum + of(r) / 4, 0);
  assert.ok(last((r) => r.loss) < records[0].loss - 0.05, records.map(({ loss }) => loss.toFixed(3)).join(' '));
  assert.ok(last((r) => r.softDice!) > records[0].softDice! + 0.03, records.map(({ softDice }) => softDice!.toFixed(3)).join(' '));
  const planned = plan(traceStage(options, pair, options.stages[0], labels).graph).peak.total;
  records.forEach(({ peakBytes, solverSteps, residual }) => {
    assert.is(peakBytes - before, planned);
    assert.ok(solverSteps >= 3 && solverSteps <= 5 && residual! > 0);
  });
  assert.is(device.ledger.live.total, before);
});

for (const adjoint of ['jfb', 'implicit', 'phantom', 'unrolled'] as const)
  test(`${adjoint}: stopped at any step and gone on with from the file of its checkpoint, the weights are the same bit for bit`, async () => {
    const options = resolveTrainOptions({ ...small, adjoint, unrolledSteps: 2 });
    const whole = await train(device, set, labels, options);
    assert.is(whole.step, 6);
    let kept: Checkpoint | undefined;
    for (const until of [1, 3, 4, 6]) {
      let steps = kept?.step ?? 0;
      kept = await train(device, set, labels, options, { stop: () => ++steps === until }, kept);
      assert.is(kept.step, until);
      kept = parseCheckpoint('kept', encodeCheckpoint(kept));
    }
    assert.equal(bits(kept!), bits(whole));
  });

test('mean squared error as the loss: it falls', async () => {
  const pair: TrainingSet = { ...set, subjects: set.subjects.slice(0, 2) };
  const loss = { similarity: 'mse', diffusion: 0, dice: 0 } as const;
  const options = resolveTrainOptions({ ...small, loss, stages: [{ levels: [1], steps: 12 }], augmentation: 'none' });
  const records: StepRecord[] = [];
  await train(device, pair, labels, options, { onStep: (record) => records.push(record) });
  const [first, last] = [records[0], records.at(-1)!];
  assert.ok(last.loss < 0.8 * first.loss, records.map((record) => record.loss.toFixed(4)).join(' '));
  assert.ok(Math.abs(first.loss + first.similarity) < 1e-6, 'the loss of one level is its error');
});

test('an image with a mask: background outside, its window from what is inside', async () => {
  const { fixed } = phantom('brain', SIZE, 1);
  const mask = fixed.data.map((_, v) => (v % SIZE[0] < 10 ? 1 : 0));
  const { image } = await prepareSubject(device, 'a', { ...fixed, mask }, undefined, 1, 'mri');
  assert.ok(image.every((value, v) => mask[v] || value === 0) && image.some((value) => value > 0.5));
});

test('another seed, other weights; other options or images are refused with a checkpoint', async () => {
  const stages = [{ levels: [2], steps: 1 }];
  const [one, two] = [resolveTrainOptions({ ...small, stages }), resolveTrainOptions({ ...small, stages, seed: 2 })];
  const [a, b] = [await train(device, set, labels, one), await train(device, set, labels, two)];
  assert.not.equal(bits(a), bits(b));
  const refused = async (options: TrainOptions, images: TrainingSet, wanted = labels): Promise<string> => {
    try {
      await train(device, images, wanted, options, {}, a);
    } catch (error) {
      return (error as Error).message;
    }
    return 'nothing';
  };
  assert.match(await refused(two, set), /with other seed$/);
  assert.match(await refused(one, { ...set, subjects: set.subjects.slice(1) }), /with other images$/);
  assert.match(await refused(one, set, labels.slice(1)), /with other images$/);
  const [first, ...others] = set.subjects;
  const changed = [{ ...first, image: first.image.map((x) => 1 - x) }, ...others];
  assert.match(await refused(one, { ...set, subjects: changed }), /with other images$/);
  assert.match(await refused(one, { ...set, subjects: [{ ...first, labels: undefined }, ...others] }), /with other images$/);
});

test('a loss that is no number, or stays far above those before: back to the checkpoint at half the rate, and at last an error', async () => {
  const options = resolveTrainOptions({ ...small, cell: 'gradirn', stages: [{ levels: [2], steps: 40 }], rate: 1, warmUp: 0, clip: 1e6 });
  const events: { step: number; to: number; rateScale: number }[] = [];
  const kept: Checkpoint[] = [];
  const starts: (number | undefined)[] = [];
  let validations = 0;
  try {
    await train(device, set, labels, options, {
      onRollback: (event) => events.push(event),
      onCheckpoint: async (one) => void kept.push(one),
      onStep: ({ step, start }) => step === 1 && starts.push(start?.dice),
      validate: async () => ({ score: 0, figures: { dice: ++validations } }),
    });
  } catch (error) {
    assert.match((error as Error).message, /^train: diverged at step \d+ \(loss .*\) after 5 rollbacks; choose a lower rate$/);
  }
  assert.ok(events.length >= 1, 'a rate of 1 diverges');
  assert.ok(
    events.some(({ to }) => to === 0),
    'and goes back to the start',
  );
  assert.ok(starts.length > 1 && starts.every((dice) => dice === 1), `validated once, not at each of ${starts}`);
  events.forEach(({ step, to, rateScale }, i) => {
    assert.ok(to < step);
    assert.is(rateScale, 0.5 ** (i + 1));
  });
  assert.is(kept.at(-1)!.rateScale, 0.5 ** events.length);
  for (const { tensors } of kept) for (const [name, { data }] of tensors) assert.ok(data.every(Number.isFinite), name);
});

test('divergence after a stop goes back to where it would have gone without', async () => {
  const stages = [{ levels: [2], steps: 40 }];
  const options = resolveTrainOptions({ ...small, cell: 'gradirn', stages, rate: 0.3, warmUp: 40, clip: 1e6, checkpointEvery: 4 });
  const run = async (stopAt: (step: number) => boolean) => {
    const events: { to: number; loss: number }[] = [];
    let kept: Checkpoint | undefined;
    let message: string | undefined;
    let step = 0;
    while (message === undefined && kept?.step !== 40) {
      const hooks: TrainHooks = {
        onStep: (record) => void (step = record.step),
        onRollback: (event) => void events.push(event),
        onCheckpoint: async (one) => void (kept = parseCheckpoint('kept', encodeCheckpoint(one))),
        stop: () => stopAt(step),
      };
      await train(device, set, labels, options, hooks, kept).catch((error) => (message = (error as Error).message));
    }
    return { events, message };
  };
  const whole = await run(() => false);
  assert.ok(
    whole.events.some(({ to }) => to > 0),
    'it diverges after a checkpoint',
  );
  assert.equal(await run((step) => step % 2 === 1), whole);
});

test('pairs with labels, whose loss is larger, are no divergence among those without; far above their own kind they are', () => {
  const look = (losses: { loss: number; dice?: number; gradientNorm?: number }[]) => {
    let seen: { diverged: boolean; watch: LossWatch } = { diverged: false, watch: { bad: 0 } };
    return losses.map((loss) => (seen = watchLoss(seen.watch, { gradientNorm: 1, ...loss }, 10)).diverged);
  };
  const labelled = { loss: 1.9, dice: 0.25 },
    unlabelled = { loss: -0.6 };
  const mixed = [unlabelled, unlabelled, unlabelled, ...Array(8).fill(labelled), unlabelled, ...Array(6).fill(labelled)];
  assert.not.ok(look(mixed).includes(true));
  assert.not.ok(look([labelled, ...Array(8).fill({ ...labelled, loss: 3 })]).includes(true), 'within the noise of single pairs');
  const bad = (loss: number, dice?: number) => Array(5).fill({ loss, dice });
  assert.is(look([labelled, ...bad(5, 0.5)]).indexOf(true), 5);
  assert.is(look([unlabelled, labelled, ...bad(-0.2)]).indexOf(true), 6);
  assert.is(look([labelled, { loss: NaN }]).indexOf(true), 1);
  assert.is(look([labelled, ...Array(5).fill({ ...labelled, gradientNorm: Infinity })]).indexOf(true), 5);
});

/** A run that validates by these scores, one after the other, and stops after some steps to go on from the file of its checkpoint. */
async function validatedBy(scores: readonly number[], stops: readonly number[] = []) {
  const options = resolveTrainOptions({ ...small, validateEvery: 2 });
  const seen: string[] = [];
  const records: StepRecord[] = [];
  let kept: Checkpoint | undefined;
  do {
    const hooks: TrainHooks = {
      onStep: (record) => void records.push(record),
      async validate(values, levels) {
        assert.is(values.size, 12);
        const score = scores[seen.push(levels.join()) - 1] ?? 0;
        return { score, figures: { dice: score } };
      },
      stop: () => stops.includes(records.at(-1)!.step),
    };
    kept = await train(device, set, labels, options, hooks, kept && parseCheckpoint('kept', encodeCheckpoint(kept)));
  } while (kept.step < 6);
  return { seen, best: kept.best!, logged: records.map(({ step, start, dice }) => [step, start?.dice, dice]) };
}

test('what a stage begins with is validated; the best is kept, and scores of other levels do not count', async () => {
  const scores = [0.8, 0.9, 0.5, 0.7, 0.6, 0.4];
  const { seen, best, logged } = await validatedBy(scores);
  assert.equal(seen, ['2', '2', '2', '2,1', '2,1', '2,1']);
  assert.equal([best.step, best.score, best.levels], [3, 0.7, [2, 1]]);
  const none = undefined;
  assert.equal(logged, [[1, 0.8, none], [2, none, 0.9], [3, none, 0.5], [4, 0.7, 0.6], [5, none, none], [6, none, 0.4]]); // prettier-ignore
  assert.equal(await validatedBy(scores, [1, 2, 3, 4, 6]), { seen, best, logged });
});

test('the best weights are never worse than what their stage began with; a start without a score is refused', async () => {
  const options = resolveTrainOptions({ ...small, stages: [{ levels: [2], steps: 2 }] });
  const scores = [0.9, 0.5];
  const { best } = await train(device, set, labels, options, { validate: async () => ({ score: scores.shift()!, figures: {} }) });
  assert.equal([best!.step, best!.score], [0, 0.9]);
  let steps = 0;
  const hooks: TrainHooks = { validate: async () => ({ score: NaN, figures: { tre: NaN } }), onStep: () => void steps++ };
  const refused = await train(device, set, labels, options, hooks).catch(({ message }) => message);
  assert.equal([refused, steps], ['train: the validation after step 0 has no score: {"tre":null}', 0]);
});

test('coarser sets: means of intensities, majorities of labels', async () => {
  const half = await coarsen(device, set, 2);
  assert.equal(
    half.grid.size,
    SIZE.map((n) => n / 2),
  );
  const cube = { size: [2, 2, 2] as [number, number, number], affine: set.grid.affine };
  const one = { size: [1, 1, 1] as [number, number, number], affine: set.grid.affine };
  assert.equal([...majority(Float32Array.of(3, 3, 3, 3, 5, 5, 5, 5), cube, one)], [3]);
  assert.equal([...majority(Float32Array.of(0, 7, 7, 0, 7, 5, 5, 5), cube, one)], [5]);
  const mean = (x: Float32Array) => x.reduce((sum, value) => sum + value / x.length, 0);
  half.subjects.forEach(({ image }, i) => assert.ok(Math.abs(mean(image) - mean(set.subjects[i].image)) < 1e-5));
});

test('pairs: never an image with itself, half of them with labels where Dice counts, all of them drawn', () => {
  const images: TrainingSet = {
    ...set,
    subjects: [0, 1, 2, 3, 4].map((n) => ({ id: `${n}`, image: new Float32Array(1), labels: n < 2 ? new Float32Array(1) : undefined })),
  };
  const random = seededRandom(3);
  const drawn = Array.from({ length: 2000 }, () => drawPair(images, random, true));
  assert.ok(drawn.every(([a, b]) => a !== b));
  assert.is(new Set(drawn.map(String)).size, 20);
  const labelled = drawn.filter(([a, b]) => a < 2 && b < 2).length / drawn.length;
  assert.ok(Math.abs(labelled - (0.5 + 0.5 * 0.1)) < 0.04, `${labelled}`);
  assert.equal(drawPair({ ...images, subjects: images.subjects.slice(0, 1) }, random, true), [0, 0]);
  const pairs = [[0, 1], [3, 4], [4, 2]] as const; // prettier-ignore
  const prescribed = Array.from({ length: 2000 }, () => drawPair({ ...images, pairs }, random, true));
  assert.equal([...new Set(prescribed.map(String))].sort(), ['0,1', '3,4', '4,2']);
  const first = prescribed.filter(([a]) => a === 0).length / prescribed.length;
  assert.ok(Math.abs(first - (0.5 + 0.5 / 3)) < 0.04, `${first}`);
});

test('options: defaults, rates, λ of the levels, and what is refused by name', () => {
  const options = resolveTrainOptions({
    stages: [
      { levels: [8], steps: 10 },
      { levels: [8, 4, 2], steps: 90 },
    ],
    warmUp: 10,
    lambda: [3, 2, 1],
  });
  const rate = learningRate(options);
  assert.ok(rate(0) < rate(9) && Math.abs(rate(9) - options.rate) < 1e-12);
  assert.ok(Math.abs(rate(99) / options.rate - 0.05) < 0.01);
  const model = modelOf(options, 'mri', new Map(), [4]);
  assert.equal([atLevels([3, 2, 1], options, [8]), atLevels([7], options, [8, 4, 2])], [[3], [7, 7, 7]]);
  assert.equal([model.lambda, model.iterations, model.tolerance], [[2], [40], [options.register.tolerance[1]]]);
  for (const [given, message] of [
    [{ stepps: 3 }, /^train: unknown option stepps; there are cell, /],
    [{ loss: { dise: 1 } }, /^train: unknown option loss\.dise; there are similarity, diffusion, dice$/],
    [{ stages: [] }, /^train: stages must be a list/],
    [{ stages: [{ levels: [4, 8], steps: 1 }] }, /^train: stages\[0\]\.levels must go from coarse to fine, got 4,8$/],
    [{ stages: [{ levels: [3], steps: 1 }] }, /^train: stages\[0\]\.levels must be powers of two such as 8,4, got 3$/],
    [{ adjoint: 'exact' }, /^train: adjoint must be one of implicit, jfb, phantom, checkpointed, unrolled; got exact$/],
    [{ loss: { similarity: 'ncc' } }, /^train: loss\.similarity must be one of lncc, mse; got ncc$/],
    [{ rate: -1 }, /^train: rate must be between 0 and 1, got -1$/],
    [{ window: 4 }, /^train: window must be odd, got 4$/],
    [{ solver: { minIterations: 9, maxIterations: 8 } }, /^train: solver\.maxIterations must be a whole number of at least 9, got 8$/],
    [{ augmentation: 'brain' }, /^train: augmentation must be one of none, mri, ct; got brain$/],
    [{ augmentation: null }, /^train: augmentation must be an object of mode, flips, .*, got null$/],
    [{ augmentation: { mode: 'pair' } }, /^train: augmentation: flips, common, .* unknown or missing; there are mode, /],
    [{ augmentation: { ...augmentations.mri, flip: 1 } }, /^train: augmentation: flip unknown or missing; /],
    [
      { augmentation: { ...augmentations.mri, mode: 'synthetik' } },
      /^train: augmentation\.mode must be pair or synthetic, got "synthetik"$/,
    ],
    [{ augmentation: { ...augmentations.mri, flips: [0.5, '1', 0] } }, /^train: augmentation\.flips\[1\] must be a number, got "1"$/],
  ] as [GivenTrainOptions, RegExp][])
    assert.throws(() => resolveTrainOptions(given), message);
});

test.run();
