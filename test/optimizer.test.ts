// Optimisers on the GPU: Adam, AdamW and clipping against PyTorch, a rate that changes without a new program, steps that are left out,
// moving averages; learning-rate schedules.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  adam,
  type AdamOptions,
  adamState,
  assign,
  constantRate,
  cosineRate,
  ema,
  gradientClip,
  Graph,
  linearWarmUp,
  resetAdam,
  Schedule,
  stepRate,
  type Tensor,
} from '../src/index.ts';
import { goldens } from './golden/load.ts';
import { evaluate, f32, gpu } from './gpu.ts';
import { type NdArray, relativeError, uniform } from './reference/ndarray.ts';

/** A parameter p with its gradient g, and a program that takes a step. */
async function stepper(start: NdArray, options: (graph: Graph, g: Tensor) => AdamOptions) {
  const graph = new Graph();
  const p = graph.variable('p', start.shape, 'weight', { persistent: true }),
    g = graph.input('g', start.shape);
  const state = adamState(p);
  graph.phase('start', () => resetAdam(state));
  graph.phase('step', () => adam(state, g, options(graph, g)));
  const parts = [p, state.first, state.second, state.corrections];
  parts.forEach((t) => graph.output(t));
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(p, f32(start));
  schedule.run('start');
  const step = (gradient: Float32Array) => {
    schedule.upload(g, gradient);
    schedule.run('step');
  };
  const read = async () => {
    const all: Float32Array[] = [];
    for (const t of parts) all.push(await schedule.read(t));
    return all;
  };
  return { schedule, step, read };
}

test('five steps of Adam as PyTorch takes them', async () => {
  const {
    attrs: { lr, beta1, beta2, epsilon },
    inputs: [start, ...gradients],
    outputs,
  } = goldens().find(({ op }) => op === 'adamStep')!;
  const graph = new Graph();
  const p = graph.variable('p', start.shape, 'weight', { persistent: true });
  const g = graph.input('g', start.shape);
  const state = adamState(p);
  graph.phase('start', () => resetAdam(state));
  graph.phase('step', () => adam(state, g, { rate: lr, beta1, beta2, epsilon }));
  [p, state.first, state.second].forEach((t) => graph.output(t));
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(p, f32(start));
  schedule.run('start');
  for (const [i, gradient] of gradients.entries()) {
    schedule.upload(g, f32(gradient));
    schedule.run('step');
    const error = relativeError(await schedule.read(p), outputs[i].data);
    assert.ok(error < 1e-6, `step ${i + 1}: ${error}`);
    // The movement, not only the place: what the bias corrections decide.
    const moved = (x: ArrayLike<number>) => Float64Array.from(x, (value, k) => value - start.data[k]);
    const drift = relativeError(moved(await schedule.read(p)), moved(outputs[i].data));
    assert.ok(drift < 2e-5, `step ${i + 1}, movement: ${drift}`);
  }
  assert.ok(relativeError(await schedule.read(state.first), outputs[5].data) < 1e-6);
  assert.ok(relativeError(await schedule.read(state.second), outputs[6].data) < 2e-5); // 1 − 0.999 in f32; v/(1 − β2ᵗ) is exact again
  schedule.destroy();
});

test('five steps of AdamW as PyTorch takes them, each with its own rate from a buffer', async () => {
  const {
    attrs: { rates, ...hyper },
    inputs: [start, ...gradients],
    outputs,
  } = goldens().find(({ op }) => op === 'adamWStep')!;
  let rate!: Tensor;
  const { schedule, step, read } = await stepper(start, (graph) => ({
    rate: (rate = graph.variable('rate', [1], 'optimizer', { persistent: true })),
    ...hyper,
  }));
  for (const [i, gradient] of gradients.entries()) {
    schedule.upload(rate, Float32Array.of(rates[i]));
    step(f32(gradient));
    const moved = (x: ArrayLike<number>) => Float64Array.from(x, (value, k) => value - start.data[k]);
    const error = relativeError(moved((await read())[0]), moved(outputs[i].data));
    assert.ok(error < 1e-5, `step ${i + 1}, movement: ${error}`);
  }
  schedule.destroy();
});

for (const {
  attrs: { most },
  inputs,
  outputs,
} of goldens().filter(({ op }) => op === 'gradientClip')) {
  const norm = outputs.at(-1)!.data[0];
  test(`gradientClip as PyTorch's clip_grad_norm_: norm ${norm.toFixed(3)} to at most ${most}`, async () => {
    const { y } = await evaluate((xs) => gradientClip(xs, most), inputs);
    assert.ok(relativeError([y[1]], [norm]) < 1e-6, `norm ${y[1]}`);
    inputs.forEach((g, i) =>
      assert.ok(
        relativeError(
          g.data.map((v) => v * y[0]),
          outputs[i].data,
        ) < 1e-6,
        `gradient ${i}`,
      ),
    );
  });
}

test('gradientClip over more partial sums than a workgroup has invocations', async () => {
  const gradients = [...[40, 41].map((seed) => uniform([150_001], seed)), ...[42, 43, 44].map((seed) => uniform([7], seed))];
  const expected = Math.hypot(
    ...gradients.map((g) =>
      Math.hypot(...[0, 1, 2, 3].map((k) => Math.sqrt(g.data.filter((_, i) => i % 4 === k).reduce((sum, x) => sum + x * x, 0)))),
    ),
  );
  const { y } = await evaluate((xs) => gradientClip(xs, 1), gradients);
  assert.ok(relativeError([...y], [1 / expected, expected]) < 1e-5, `${y}, expected the norm ${expected}`);
});

test('a gradient as small as ε takes half a step', async () => {
  const [rate, epsilon] = [0.1, 1e-4];
  const start = uniform([300], 1);
  const { schedule, step, read } = await stepper(start, () => ({ rate, epsilon }));
  step(new Float32Array(300).fill(epsilon)); // p − rate · g / (√g² + ε), and not √(g² + ε)
  const [p] = await read();
  p.forEach((x, i) => assert.ok(Math.abs(start.data[i] - x - rate / 2) < 1e-5, `${start.data[i] - x}`));
  schedule.destroy();
});

test('adam with a clip steps as with the clipped gradient', async () => {
  const start = uniform([300], 1),
    g = uniform([300], 2, -2, 2),
    most = 0.5;
  const factor = most / Math.hypot(...g.data);
  const clipped = await stepper(start, (_, gradient) => ({ rate: 0.1, clip: gradientClip([gradient], most) }));
  const plain = await stepper(start, () => ({ rate: 0.1 }));
  for (const scale of [1, -0.5, 3]) {
    // every one of them is above `most`
    clipped.step(f32(g).map((v) => v * scale));
    plain.step(f32(g).map((v) => v * factor * Math.sign(scale)));
  }
  const [a, b] = [await clipped.read(), await plain.read()];
  a.forEach((values, i) => assert.ok(relativeError(values, b[i]) < 1e-5, `part ${i}: ${relativeError(values, b[i])}`));
  [clipped, plain].forEach(({ schedule }) => schedule.destroy());
});

test('a step with a gradient that is not finite is left out', async () => {
  const start = uniform([100], 3),
    good = f32(uniform([100], 4));
  const { schedule, step, read } = await stepper(start, (_, g) => ({ rate: 0.1, weightDecay: 0.1, clip: gradientClip([g], 1) }));
  step(good);
  const before = await read();
  for (const bad of [NaN, Infinity, -Infinity, 1e30]) {
    step(good.with(7, bad));
    assert.equal(await read(), before, String(bad));
  }
  step(good);
  assert.not.equal(await read(), before);
  schedule.destroy();
});

test('ema follows its weight', async () => {
  const graph = new Graph();
  const x = graph.input('x', [100]),
    average = graph.variable('average', [100], 'optimizer', { persistent: true });
  graph.phase('start', () => assign(average, x));
  graph.phase('step', () => ema(average, x, 0.9));
  graph.output(average);
  const schedule = await Schedule.build(await gpu(), graph);
  let expected = uniform([100], 5).data;
  schedule.upload(x, Float32Array.from(expected));
  schedule.run('start');
  for (const seed of [6, 7, 8]) {
    const next = uniform([100], seed);
    schedule.upload(x, f32(next));
    schedule.run('step');
    expected = expected.map((v, i) => 0.9 * v + 0.1 * next.data[i]);
  }
  assert.ok(relativeError(await schedule.read(average), expected) < 1e-6);
  schedule.destroy();
});

test('what does not fit is refused, with the shapes', () => {
  const graph = new Graph();
  const p = graph.variable('p', [4]),
    g = graph.input('g', [4]),
    two = graph.input('two', [2]),
    state = adamState(p);
  graph.phase('all', () => {
    assert.throws(() => adam(state, two, { rate: 1 }), /adam: the gradient is \[2\], the parameter \[4\]/);
    assert.throws(() => adam(state, g, { rate: two }), /adam: the rate is a number or a tensor \[1\], got \[2\]/);
    assert.throws(() => adam(state, g, { rate: 1, clip: g }), /adam: clip is what gradientClip returns, \[2\], got \[4\]/);
    assert.throws(() => gradientClip([g], 0), /gradientClip: the largest norm must be above 0, got 0/);
    assert.throws(() => ema(p, two, 0.9), /ema: the average is \[4\], the value \[2\]/);
    assert.throws(() => ema(p, g, 1), /ema: decay must be/);
  });
});

test('schedules', () => {
  const at = (rate: (step: number) => number, ...steps: number[]) => steps.map((step) => Number(rate(step).toFixed(9)));
  assert.equal(at(constantRate(0.3), 0, 5, 1000), [0.3, 0.3, 0.3]);
  assert.equal(at(cosineRate(1, 8), 0, 2, 4, 8, 9), [1, 0.853553391, 0.5, 0, 0]);
  assert.equal(at(cosineRate(1, 8, 0.2), 0, 4, 8, 100), [1, 0.6, 0.2, 0.2]);
  assert.equal(at(stepRate(1, 10, 0.5), 0, 9, 10, 19, 20), [1, 1, 0.5, 0.5, 0.25]);
  assert.equal(at(linearWarmUp(4, cosineRate(1, 8)), 0, 1, 3, 4, 8, 12), [0.25, 0.5, 1, 1, 0.5, 0]);
});

test.run();
