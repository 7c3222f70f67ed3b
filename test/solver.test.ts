// The fixed-point solvers on the GPU against the float64 Anderson; every verdict as data.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  add,
  anderson,
  andersonState,
  assign,
  axpby,
  gaussian,
  Graph,
  iterate,
  type Iteration,
  log,
  type Method,
  mul,
  type Outcome,
  resetAnderson,
  scale,
  Schedule,
  type Step,
  type StopRule,
  sum,
  type Tensor,
  traceIteration,
} from '../src/index.ts';
import { f32, gpu } from './gpu.ts';
import { rejection } from './rejection.ts';
import { gaussian as gaussianReference } from './reference/filters.ts';
import { type NdArray, ndarray, norm, relativeError, uniform, zeros } from './reference/ndarray.ts';
import { anderson as andersonReference } from './reference/steps.ts';

const picard: Method = { method: 'picard' };
const rule = (maxIterations: number, more: Partial<StopRule> = {}): StopRule => ({
  maxIterations,
  rtol: 0,
  atol: 0,
  patience: maxIterations,
  ...more,
});
const constant = (value: number, n = 8): NdArray => ndarray([1, 1, 1, 1, n], Array<number>(n).fill(value));

interface Solved extends Outcome {
  best: Float32Array;
  z: Float32Array;
  steps: Step[];
}

/** Solves z = f(z, constants) from one start, or from several in turn on the same schedule; the last solution. */
async function solve(
  method: Method,
  start: NdArray | NdArray[],
  f: (z: Tensor, constants: Tensor[]) => Tensor,
  stop: StopRule,
  constants: NdArray[] = [],
): Promise<Solved> {
  const graph = new Graph();
  const starts = [start].flat(),
    z0 = starts[0];
  const inputs = [z0, ...constants].map((x, i) => graph.input(`input ${i}`, x.shape));
  const iteration = traceIteration(
    graph,
    'it',
    method,
    z0.shape,
    (z) => ({ next: f(z, inputs.slice(1)), monitor: sum(z) }),
    () => inputs[0],
  );
  [iteration.best, iteration.z, inputs[0]].forEach((t) => graph.output(t)); // the start, too: so that nothing takes its memory
  const schedule = await Schedule.build(await gpu(), graph);
  let solved!: Solved;
  for (const z0 of starts) {
    const steps: Step[] = [];
    [z0, ...constants].forEach((x, i) => schedule.upload(inputs[i], f32(x)));
    const outcome = await iterate(schedule, iteration, stop, (step) => steps.push(step));
    solved = { ...outcome, best: await schedule.read(iteration.best), z: await schedule.read(iteration.z), steps };
  }
  schedule.destroy();
  assert.is(solved.residuals.length, solved.iterations);
  assert.ok(solved.iterations <= stop.maxIterations, `${solved.iterations} evaluations, ${stop.maxIterations} allowed`);
  assert.equal(
    solved.steps.map(({ iteration, residual }) => [iteration, residual]),
    solved.residuals.map((r, i) => [i + 1, r]),
  );
  return solved;
}

/** Three more evaluations are under way when the residual of a step is seen. */
const LAG = 3;

/** f(z) = d·z + ⅓·G(z) + b: a contraction (‖f′‖ < 0.94) that couples neighbours, on the GPU and in float64. */
function contraction(shape: number[]) {
  const z0 = uniform(shape, 3),
    d = uniform(shape, 1, 0, 0.6),
    b = uniform(shape, 2);
  return {
    z0,
    constants: [d, b],
    f: (z: Tensor, [d, b]: Tensor[]) => add(axpby(1, mul(z, d), 1 / 3, gaussian(z, 1)), b),
    reference: (z: Float64Array) => {
      const smooth = gaussianReference.forward([{ shape, data: z }], { sigma: [1, 1, 1] }).data;
      return z.map((x, i) => d.data[i] * x + smooth[i] / 3 + b.data[i]);
    },
  };
}

for (const shape of [
  [1, 3, 3, 5, 7],
  [1, 2, 4, 4, 4],
]) {
  for (const window of [1, 2, 5, 8]) {
    for (const [beta, keeps] of [
      [1, 'value'],
      [0.5, 'value'],
      [0.5, 'iterate'],
    ] as const) {
      test(`window ${window}, β ${beta}, [${shape}]: residuals and the best ${keeps} as in float64`, async () => {
        const { z0, constants, f, reference } = contraction(shape);
        const options = { window, beta, ridge: 1e-3 };
        const { result, residuals, residual, relativeResidual, best } = await solve(
          { method: 'anderson', ...options, keeps },
          z0,
          f,
          rule(10),
          constants,
        );
        const expected = andersonReference(reference, z0.data, { ...options, maxIterations: 10, rtol: 0, atol: 0 });
        assert.is(result, 'max-iterations');
        residuals.forEach((r, k) => {
          const error = Math.abs(r / (expected.residuals[k] / Math.sqrt(z0.data.length)) - 1);
          assert.ok(error < 1e-3, `residual ${k + 1}: ${r}, relative error ${error}`);
        });
        const value = reference(expected.value);
        const kept = relativeError(best, keeps === 'value' ? value : expected.value);
        assert.ok(kept < 1e-5, `best: ${kept}`);
        assert.is(residual, Math.min(...residuals));
        assert.ok(Math.abs(relativeResidual / (expected.residual / norm(value)) - 1) < 1e-3);
      });
    }
  }
}

for (const processor of ['cpu', 'gpu'] as const)
  test(`a state of more items than the partial sums of a workgroup, as launched for a ${processor}`, async () => {
    const shape = [1, 3, 52, 50, 41]; // 319 800 values, in fours; items do not divide by the workgroups
    const [z0, d, b] = [uniform(shape, 1), uniform(shape, 2, -0.9, 0.9), uniform(shape, 3)];
    const graph = new Graph();
    const [start, slopes, offsets] = ['start', 'd', 'b'].map((name) => graph.input(name, shape));
    const method: Method = { method: 'anderson', window: 3, beta: 1, ridge: 1e-3, keeps: 'iterate' };
    const iteration = traceIteration(
      graph,
      'it',
      method,
      shape,
      (z) => ({ next: add(mul(z, slopes), offsets) }),
      () => start,
    );
    graph.output(iteration.best);
    const schedule = await Schedule.build(await gpu(), graph, processor);
    [z0, d, b].forEach((x, i) => schedule.upload([start, slopes, offsets][i], f32(x)));
    const { residuals } = await iterate(schedule, iteration, rule(7));
    const best = await schedule.read(iteration.best);
    schedule.destroy();
    const f = (z: Float64Array) => z.map((x, i) => d.data[i] * x + b.data[i]);
    const expected = andersonReference(f, z0.data, { window: 3, beta: 1, ridge: 1e-3, maxIterations: 7, rtol: 0, atol: 0 });
    residuals.forEach((r, k) => {
      const error = Math.abs(r / (expected.residuals[k] / Math.sqrt(z0.data.length)) - 1);
      assert.ok(error < 1e-3, `residual ${k + 1}: relative error ${error}`);
    });
    assert.ok(relativeError(best, expected.value) < 1e-4, `${relativeError(best, expected.value)}`);
    const last = (x: ArrayLike<number>) => Array.from(x).slice(-999);
    assert.ok(relativeError(last(best), last(expected.value)) < 1e-4, 'the last ones, too');
  });

test('one and two iterations work, and return f(z), not the start', async () => {
  const { z0, constants, f, reference } = contraction([1, 1, 3, 5, 7]);
  const once = reference(z0.data),
    twice = reference(once);
  for (const method of [picard, { method: 'anderson' }] as Method[]) {
    const one = await solve(method, z0, f, rule(1), constants),
      two = await solve(method, z0, f, rule(2), constants);
    assert.equal([one.result, one.iterations, two.result, two.iterations], ['max-iterations', 1, 'max-iterations', 2]);
    assert.ok(relativeError(one.best, once) < 1e-6);
    assert.ok(relativeError(two.best, twice) < 1e-6);
  }
});

test('converged: at once where f(z) = z, and by each tolerance at the step that meets it', async () => {
  for (const method of [picard, { method: 'anderson' }] as Method[]) {
    const still = await solve(method, constant(2), (z) => scale(z, 1), rule(50));
    assert.is(still.result, 'converged');
    assert.equal([still.iterations, still.residual, still.relativeResidual], [1 + LAG, 0, 0]);
    assert.equal([...still.best], Array(8).fill(2));
    const zero = await solve(method, constant(0), (z) => scale(z, 1), rule(50));
    assert.equal([zero.result, zero.residual, zero.relativeResidual], ['converged', 0, 0]);
  }
  // f(z) = z/2 + 1 from 0: residuals 2^(1−k) at step k = 1, 2, …, f(z) = 2 − 2^(1−k).
  const halves = (more: Partial<StopRule>) => solve(picard, constant(0), (z) => scale(z, 0.5, 1), rule(50, more));
  const absolute = await halves({ atol: 0.13 }),
    relative = await halves({ rtol: 0.13 });
  assert.equal([absolute.result, absolute.iterations, relative.result, relative.iterations], ['converged', 4 + LAG, 'converged', 4 + LAG]);
  assert.equal((await halves({ atol: 0.12 })).iterations, 5 + LAG);
  assert.equal((await halves({ rtol: 0.06 })).iterations, 5 + LAG); // residual over ‖f(z)‖: 0.125/1.875, 0.0625/1.9375
});

test('picard with a damping of ¼ goes a quarter of the way', async () => {
  const { residuals } = await solve({ method: 'picard', damping: 0.25 }, constant(0), (z) => scale(z, 0.5, 1), rule(4)); // z ← z + (1 − z/2)/4
  assert.equal(
    residuals.map((r) => r.toFixed(6)),
    [1, 0.875, 0.875 ** 2, 0.875 ** 3].map((r) => r.toFixed(6)),
  );
});

test('stagnated, diverged and non-finite are results, and the best iterate is finite', async () => {
  const flipped = await solve(picard, constant(1), (z) => scale(z, -1), rule(50, { patience: 5 }));
  assert.equal([flipped.result, flipped.iterations], ['stagnated', 6 + LAG]);
  const creeping = await solve(picard, constant(1), (z) => scale(z, 0.9985), rule(50, { patience: 5 })); // less than 1 % in 5 steps
  assert.equal([creeping.result, creeping.iterations], ['stagnated', 6 + LAG]);
  const slow = await solve(picard, constant(1), (z) => scale(z, 0.997), rule(50, { patience: 5 })); // 1.5 %
  assert.is(slow.result, 'max-iterations');
  const growing = await solve(picard, constant(1), (z) => scale(z, 3), rule(50));
  assert.equal([growing.result, growing.iterations, growing.residual.toFixed(5)], ['diverged', 4 + LAG, '2.00000']); // 2, 6, 18, 54
  assert.equal([...growing.best], Array(8).fill(3));
  for (const method of [picard, { method: 'anderson' }] as Method[]) {
    // log 1 = 0, log 0 = −∞.
    const broken = await solve(method, constant(1), (z) => log(z), rule(50));
    assert.equal([broken.result, broken.iterations, broken.residual.toFixed(5)], ['non-finite', 2 + LAG, '1.00000']);
    assert.equal([...broken.best, ...broken.z], Array(16).fill(0));
    const huge = await solve(method, constant(1e25), (z) => scale(z, 1), rule(50)); // at rest, but its norm is beyond float32
    assert.is(huge.result, 'non-finite');
    const never = await solve(method, [constant(1), constant(-1)], (z) => log(z), rule(50));
    assert.equal([never.result, never.iterations], ['non-finite', 1 + LAG]);
    assert.equal([...never.best], Array(8).fill(-1)); // nothing better than the start
  }
});

test('a run is reproducible to the bit, on one schedule and on another', async () => {
  const { z0, constants, f } = contraction([1, 3, 5, 7, 9]);
  const stop = rule(30, { rtol: 1e-4 });
  const run = (start: NdArray | NdArray[]) => solve({ method: 'anderson' }, start, f, stop, constants);
  const [first, again, twice] = [await run(z0), await run(z0), await run([constants[0], z0])];
  assert.is(first.result, 'converged');
  assert.equal(again, first);
  assert.equal(twice, first);
});

test('Anderson needs a fraction of the plain evaluations on an ill-conditioned map', async () => {
  const shape = [1, 1, 1, 15, 17];
  const d = uniform(shape, 5, 0, 0.99),
    b = uniform(shape, 6);
  const evaluations = async (method: Method) => {
    const { result, iterations } = await solve(method, zeros(shape), (z, [d, b]) => add(mul(z, d), b), rule(1000, { rtol: 1e-4 }), [d, b]);
    assert.is(result, 'converged');
    return iterations;
  };
  const plain = await evaluations(picard),
    accelerated = await evaluations({ method: 'anderson', window: 5, ridge: 1e-6 });
  assert.ok(accelerated * 4 < plain, `${accelerated} against ${plain}`);
});

test('β below 1 rests where the map is steep, which drives β = 1 away', async () => {
  const shape = [1, 1, 1, 15, 17];
  const slopes = uniform(shape, 7, -8, 0.2),
    b = uniform(shape, 8);
  const run = (beta: number) =>
    solve({ method: 'anderson', beta }, zeros(shape), (z, [d, b]) => add(mul(z, d), b), rule(100, { atol: 1e-4 }), [slopes, b]);
  const [undamped, damped] = [await run(1), await run(0.5)];
  assert.equal([undamped.result, damped.result], ['diverged', 'converged']);
});

test('a ring in parts is one ring', async () => {
  const graph = new Graph();
  const n = 1000,
    options = { window: 3, beta: 0.5, ridge: 1e-6 };
  const [start, factors, target] = ['start', 'factors', 'target'].map((name) => graph.input(name, [n]));
  const iterations = [2 ** 27, 5000].map((most, i) => {
    const memory = andersonState(graph.variable(`z ${i}`, [n]), options.window, most);
    graph.phase(`start ${i}`, () => (assign(memory.z, start), assign(memory.best, start), resetAnderson(memory)));
    graph.phase(`step ${i}`, () => anderson(memory, add(mul(factors, memory.z), target), options));
    [memory.z, memory.best, memory.state].forEach((t) => graph.output(t));
    return memory;
  });
  assert.equal(
    iterations.map(({ values, residuals }) => [values, residuals].map((ring) => ring.map(({ shape }) => shape[1]))),
    [
      [[1000], [1000]],
      [
        [336, 336, 328],
        [336, 336, 328],
      ],
    ],
  );
  const schedule = await Schedule.build(await gpu(), graph);
  const random = uniform([3, n], 7).data;
  [start, factors, target].forEach((t, i) =>
    schedule.upload(
      t,
      Float32Array.from(random.slice(i * n, (i + 1) * n), (x) => 0.9 * x),
    ),
  );
  const results: Float32Array[][] = [];
  for (const [i, { z, best, state }] of iterations.entries()) {
    schedule.run(`start ${i}`);
    for (let step = 0; step < 6; step++) schedule.run(`step ${i}`);
    results.push([await schedule.read(z), await schedule.read(best), await schedule.read(state)]);
  }
  schedule.destroy();
  const [whole, parted] = results;
  assert.ok(whole[2][3] > 0, 'an iteration under way');
  whole.forEach((values, i) => assert.ok(relativeError(Array.from(parted[i]), Array.from(values)) < 1e-5));
});

test('a history that spans nothing is passed over: f(z) = z + b takes plain steps, without a ridge too', async () => {
  const { z, residuals } = await solve({ method: 'anderson', ridge: 0 }, constant(0), (z, [b]) => add(z, b), rule(4), [constant(1)]);
  assert.equal([...new Set(z)], [4]);
  assert.equal(
    residuals.map((r) => r.toFixed(6)),
    Array(4).fill('1.000000'),
  );
});

test('options and rules out of range are refused', async () => {
  const graph = new Graph();
  const z = graph.variable('z', [4]),
    f = graph.input('f', [4]);
  graph.phase('all', () => {
    const step = (options: object) => () => anderson(andersonState(z, 3), f, { window: 3, beta: 1, ridge: 0, ...options });
    assert.throws(step({ beta: 0 }), /beta must lie in \(0, 1\], got 0/);
    assert.throws(step({ ridge: -1 }), /ridge must be ≥ 0, got -1/);
    for (const window of [0, 9]) assert.throws(() => andersonState(z, window), new RegExp(`window must be 1 to 8, got ${window}`));
    const traced = (method: object) => () => traceIteration(graph, 'it', method as Method, [4], (next) => ({ next }));
    assert.throws(traced({ method: 'newton' }), /unknown method newton; there are picard, anderson/);
    assert.throws(traced({ method: 'anderson', widow: 3 }), /anderson: unknown option widow; there are method, window, beta, ridge, keeps/);
    assert.throws(traced({ method: 'picard', damping: 2 }), /picard: damping must lie in \(0, 1\], got 2/);
    assert.throws(traced({ method: 'picard', beta: 0.5 }), /picard: unknown option beta; there are method, damping/);
    assert.throws(step({ window: 4 }), /anderson: a window of 4 over a history of 3/);
    assert.throws(
      () => anderson(andersonState(z, 1), graph.input('g', [5]), { window: 1, beta: 1, ridge: 0 }),
      /returns \[5\] for a state of \[4\]/,
    );
  });
  const tensor = ((next: Tensor) => next) as unknown as Parameters<typeof traceIteration>[4];
  assert.throws(() => traceIteration(graph, 'it', { method: 'picard' }, [4], tensor), /^it: the map must return .*, got a tensor$/);
  for (const [stop, message] of [
    [rule(0), /iterate: maxIterations must be a whole number above 0, got 0/],
    [{ maxIterations: 3, rtol: 1e-3, patience: 3 }, /iterate: atol must be a number ≥ 0, got undefined/],
    [rule(3, { patience: 0 }), /iterate: patience must be a whole number above 0, or Infinity, got 0/],
    [rule(3, { rtol: NaN }), /iterate: rtol must be a number ≥ 0, got NaN/],
    [{ ...rule(3), tolerance: 1 }, /iterate: unknown option tolerance; there are maxIterations, rtol/],
  ] as [StopRule, RegExp][])
    assert.match(await rejection(iterate({} as Schedule, {} as Iteration, stop)), message);
});

test('a device that fails is reported once, though several steps are under way', async () => {
  const unhandled: unknown[] = [];
  const listen = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', listen);
  const lost = { run() {}, runAndRead: () => Promise.reject(new Error('the device was lost')) } as unknown as Schedule;
  let message = '';
  await iterate(lost, { start: 'a', step: 'b', reads: [], size: 1 } as unknown as Iteration, rule(10)).catch((error) => {
    message = error.message;
  });
  await new Promise((resolve) => setTimeout(resolve, 10));
  process.off('unhandledRejection', listen);
  assert.is(message, 'the device was lost');
  assert.equal(unhandled, []);
});

test.run();
