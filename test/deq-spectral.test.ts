// Power iteration on the pulled-back linearisation: linear cells of known spectral radius; and the Gaussian fields it starts from.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  add,
  type Adjoint,
  concat,
  deq,
  fill,
  gaussian,
  gaussianField,
  Graph,
  mse,
  mul,
  runDeq,
  scale,
  Schedule,
  slice,
  type SpectralRadius,
  spectralRadius,
  sqrt,
  sub,
  type Tensor,
  traceSpectralRadius,
} from '../src/index.ts';
import { f32, gpu } from './gpu.ts';
import { uniform } from './reference/ndarray.ts';

const size = [5, 6, 7];
const rule = { maxIterations: 20, rtol: 1e-3, atol: 0, patience: 20, divergence: 1e6 };

/** The radius at the fixed point of z ↦ f(z, d) + b, [1, channels, 5, 6, 7]; b random, or 0. */
async function radius(
  channels: number,
  f: (z: Tensor, d: Tensor) => Tensor,
  {
    d,
    b,
    adjoint = { adjoint: 'jfb' } as Adjoint,
    budget = {},
  }: { d?: Float32Array; b?: Float32Array; adjoint?: Adjoint; budget?: object } = {},
): Promise<SpectralRadius> {
  const shape = [1, channels, ...size];
  const graph = new Graph();
  const [field, offset] = [graph.input('d', shape), graph.input('b', shape)];
  const node = deq(graph, 'deq', {
    cell: (z) => add(f(z, field), offset),
    shape,
    loss: (y) => mse(y, fill(graph, shape, 0)),
    wrt: [offset],
    adjoint,
  });
  const spectral = traceSpectralRadius(graph, 'deq.spectral', node.linearisation);
  const schedule = await Schedule.build(await gpu(), graph);
  try {
    schedule.upload(field, d ?? f32(uniform(shape, 1, 0, 0.6)));
    schedule.upload(offset, b ?? f32(uniform(shape, 2)));
    await runDeq(schedule, node, { forward: rule, backward: rule });
    return await spectralRadius(schedule, spectral, budget);
  } finally {
    schedule.destroy();
  }
}

/** ρ · a rotation by `angle` between two channels, in axes stretched against each other: eigenvalues ρ·e^{±iθ}, and not normal. */
const rotation = (rho: number, angle: number, stretch: number) => (z: Tensor) => {
  const [p, q] = [slice(z, 0, 1), slice(z, 1, 1)];
  const [c, s] = [rho * Math.cos(angle), rho * Math.sin(angle)];
  return concat(sub(scale(p, c), scale(q, s * stretch)), add(scale(p, s / stretch), scale(q, c)));
};

const peaked = f32(uniform([1, 1, ...size], 1, 0, 0.6));
peaked[100] = 0.9;

const known: [string, number, () => Promise<SpectralRadius>][] = [
  ['one factor for all', 0.5, () => radius(1, (z) => scale(z, 0.5))],
  ['a negative eigenvalue', 1.3, () => radius(1, (z) => scale(z, -1.3))],
  ['a field of factors, the largest 0.9', 0.9, () => radius(1, (z, d) => mul(z, d), { d: peaked })],
  ['0.8 · Gaussian smoothing, which keeps constants', 0.8, () => radius(1, (z) => scale(gaussian(z, 1), 0.8))],
  ['a rotation', 0.7, () => radius(2, rotation(0.7, 0.9, 1))],
  ['a stretched rotation', 0.95, () => radius(2, rotation(0.95, 0.4, 4))],
  ['a slow stretched rotation', 1.1, () => radius(2, rotation(1.1, 0.15, 3))],
  ['a rotation of smoothed channels', 0.6, () => radius(2, (z) => gaussian(rotation(0.6, 1.2, 2)(z), 0.7))],
];
for (const [name, expected, measure] of known) {
  test(`${name}: ${expected} to 1 %`, async () => {
    const { radius, result, iterations, change } = await measure();
    assert.ok(Math.abs(radius / expected - 1) < 0.01, `${radius} after ${iterations} steps, change ${change}`);
    assert.is(result, 'converged');
    assert.ok(change <= 2e-3 && iterations <= 300);
  });
}

test('the same under every adjoint of an equilibrium; unrolled has none', async () => {
  const cell = (z: Tensor) => scale(gaussian(z, 0.8), 0.7);
  const jfb = await radius(1, cell);
  for (const adjoint of [{ adjoint: 'implicit' }, { adjoint: 'phantom', steps: 3, damping: 0.5 }] as Adjoint[])
    assert.equal(await radius(1, cell, { adjoint }), jfb);
  assert.match(
    await radius(1, cell, { adjoint: { adjoint: 'unrolled', steps: 3 } }).then(String, (error: Error) => error.message),
    /deq.spectral: unrolled and checkpointed have no linearisation/,
  );
});

test('nilpotent, not finite, out of budget: said', async () => {
  const shift = await radius(2, (z) => concat(slice(z, 1, 1), scale(slice(z, 1, 1), 0)));
  assert.equal([shift.radius, shift.result], [0, 'converged']);
  const broken = await radius(1, (z) => sqrt(z), { b: new Float32Array(210) }); // z* = 0, where the slope of √z is infinite
  assert.is(broken.result, 'non-finite');
  assert.ok(Number.isNaN(broken.radius));
  const short = await radius(2, rotation(0.95, 0.4, 4), { budget: { maxIterations: 6 } });
  assert.equal([short.result, short.iterations], ['max-iterations', 6]);
  assert.match(
    await radius(1, (z) => scale(z, 0.5), { budget: { maxIterations: 0 } }).then(String, (error: Error) => error.message),
    /maxIterations must be a whole number above 0, got 0/,
  );
});

test('Gaussian fields: moments, independence of neighbours and of seeds, reproducible', async () => {
  const shape = [1, 1, 30, 32, 34];
  const graph = new Graph();
  const seed = graph.input('seed', [1]);
  const field = graph.phase('all', () => graph.output(gaussianField(seed, shape)));
  const schedule = await Schedule.build(await gpu(), graph);
  const draw = async (value: number) => {
    schedule.upload(seed, Float32Array.of(value));
    schedule.run('all');
    return schedule.read(field);
  };
  const [v, w, again] = [await draw(0), await draw(1), await draw(0)];
  schedule.destroy();
  const mean = (f: (i: number) => number) => v.reduce((sum, _, i) => sum + f(i), 0) / v.length;
  const sd = 1 / Math.sqrt(v.length);
  const near = (value: number, expected: number, spread: number, what: string) =>
    assert.ok(Math.abs(value - expected) < 4 * spread * sd, `${what}: ${value}`);
  near(
    mean((i) => v[i]),
    0,
    1,
    'mean',
  );
  near(
    mean((i) => v[i] ** 2),
    1,
    Math.sqrt(2),
    'variance',
  );
  near(
    mean((i) => v[i] ** 4),
    3,
    Math.sqrt(96),
    'fourth moment',
  );
  for (const lag of [1, 34, 34 * 32, 64])
    near(
      mean((i) => v[i] * v[(i + lag) % v.length]),
      0,
      1,
      `neighbours ${lag} apart`,
    );
  near(
    mean((i) => v[i] * w[i]),
    0,
    1,
    'two seeds',
  );
  assert.equal(again, v);
});

test.run();
