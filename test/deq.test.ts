// The equilibrium node: every adjoint against the others and against finite differences, its memory against the steps.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Adjoint, deq, type DeqOutcome, runDeq } from '../src/deq/deq.ts';
import { Graph, plan, Schedule, type StopRule, type Tensor } from '../src/index.ts';
import { add, detach, div, dot, gaussian, mse, mul, scale, sqrt, square } from '../src/ops/index.ts';
import { evaluate, f32, gpu } from './gpu.ts';
import { norm, relativeError, uniform } from './reference/ndarray.ts';

const shape = [1, 1, 5, 6, 7];
const [x, target] = [uniform(shape, 1, -1, 1), uniform(shape, 2, -1, 1)];
const tight: StopRule = { maxIterations: 60, rtol: 1e-7, atol: 0, patience: 60, divergence: 1e6 };

/** f(z) = a · G(z/√(1 + z²)) + x: its Jacobian's norm is at most |a|, and it depends on the state. */
function trace(graph: Graph, adjoint: Adjoint, more: { cell?: (z: Tensor) => Tensor; started?: boolean } = {}) {
  const [a, input, goal] = [graph.input('a', [1]), graph.input('x', shape), graph.input('target', shape)];
  const cell = more.cell ?? ((z: Tensor) => add(mul(a, gaussian(div(z, sqrt(scale(square(z), 1, 1))), 0.8)), input));
  const initial = more.started ? () => mul(a, input) : undefined;
  return { a, input, goal, node: deq(graph, 'deq', { cell, shape, initial, loss: (y) => mse(y, goal), wrt: [a, input], adjoint }) };
}

interface Result {
  loss: number;
  da: number;
  dx: Float32Array;
  outcome: DeqOutcome;
  peak: number;
}

async function solve(adjoint: Adjoint, a = 0.7, rules = { forward: tight, backward: tight }, started = false): Promise<Result> {
  const graph = new Graph();
  const traced = trace(graph, adjoint, { started });
  const device = await gpu();
  const schedule = await Schedule.build(device, graph);
  try {
    schedule.upload(traced.a, Float32Array.of(a));
    schedule.upload(traced.input, f32(x));
    schedule.upload(traced.goal, f32(target));
    const outcome = await runDeq(schedule, traced.node, rules);
    const [loss, da, dx] = [
      await schedule.read(traced.node.loss),
      await schedule.read(traced.node.gradients[0]),
      await schedule.read(traced.node.gradients[1]),
    ];
    return { loss: loss[0], da: da[0], dx, outcome, peak: schedule.plan.peak.total };
  } finally {
    schedule.destroy();
  }
}

const close = (actual: number, expected: number, tolerance: number, what: string) =>
  assert.ok(Math.abs(actual - expected) <= tolerance * Math.abs(expected), `${what}: ${actual} against ${expected}`);

const cosine = (p: Float32Array, q: Float32Array) => p.reduce((sum, v, i) => sum + v * q[i], 0) / (norm(p) * norm(q));

test('implicit = unrolled = checkpointed = finite differences on a contractive cell', async () => {
  const implicit = await solve({ adjoint: 'implicit' });
  const unrolled = await solve({ adjoint: 'unrolled', steps: 40 });
  const checkpointed = await solve({ adjoint: 'checkpointed', steps: 40 });
  assert.is(implicit.outcome.forward!.result, 'converged');
  assert.is(implicit.outcome.backward!.result, 'converged');
  close(implicit.loss, unrolled.loss, 1e-5, 'loss');
  close(implicit.da, unrolled.da, 1e-3, 'gradient for a, implicit against unrolled');
  close(checkpointed.da, unrolled.da, 1e-5, 'gradient for a, checkpointed against unrolled');
  assert.ok(relativeError(implicit.dx, unrolled.dx) < 1e-3);
  assert.ok(relativeError(checkpointed.dx, unrolled.dx) < 1e-5);
  const h = 0.02;
  const [up, down] = [await solve({ adjoint: 'jfb' }, 0.7 + h), await solve({ adjoint: 'jfb' }, 0.7 - h)];
  close(implicit.da, (up.loss - down.loss) / (2 * h), 2e-3, 'gradient for a, implicit against finite differences');
});

test('no gradient passes through the start: unrolled = checkpointed after two steps from what depends on the weights', async () => {
  const [unrolled, checkpointed] = [
    await solve({ adjoint: 'unrolled', steps: 2 }, 0.7, undefined, true),
    await solve({ adjoint: 'checkpointed', steps: 2 }, 0.7, undefined, true),
  ];
  const fromZero = await solve({ adjoint: 'unrolled', steps: 2 });
  assert.ok(Math.abs(unrolled.da / fromZero.da - 1) > 0.01, 'the start matters');
  close(checkpointed.da, unrolled.da, 1e-5, 'gradient for a');
  assert.ok(relativeError(checkpointed.dx, unrolled.dx) < 1e-5, 'gradient for x');
});

test('no gradient passes through the start, where the cell reads what it starts from', async () => {
  const from = async (start: 'x' | 'h', adjoint: Adjoint) => {
    const graph = new Graph();
    const [a, input, goal] = [graph.input('a', [1]), graph.input('x', shape), graph.input('target', shape)];
    const h = graph.phase('before', () => mul(input, a));
    const [read, wrt] = start === 'x' ? [input, input] : [h, a];
    const cell = (z: Tensor) => add(mul(gaussian(div(z, sqrt(scale(square(z), 1, 1))), 0.8), a), read);
    const node = deq(graph, 'deq', { cell, shape, loss: (y) => mse(y, goal), wrt: [wrt], initial: () => read, adjoint });
    const schedule = await Schedule.build(await gpu(), graph);
    schedule.upload(a, Float32Array.of(0.7));
    schedule.upload(input, f32(x));
    schedule.upload(goal, f32(target));
    schedule.run('before');
    await runDeq(schedule, node, { forward: tight, backward: tight });
    const gradient = Array.from(await schedule.read(node.gradients[0]));
    schedule.destroy();
    return gradient;
  };
  for (const start of ['x', 'h'] as const)
    for (const steps of [2, 5]) {
      const [unrolled, checkpointed] = [
        await from(start, { adjoint: 'unrolled', steps }),
        await from(start, { adjoint: 'checkpointed', steps }),
      ];
      assert.ok(relativeError(checkpointed, unrolled) < 1e-5, `${steps} steps from ${start}: ${relativeError(checkpointed, unrolled)}`);
    }
});

test('jfb and phantom point the same way, phantom closer', async () => {
  const [exact, jfb, phantom] = [
    await solve({ adjoint: 'implicit' }),
    await solve({ adjoint: 'jfb' }),
    await solve({ adjoint: 'phantom', steps: 5, damping: 0.8 }),
  ];
  assert.ok(cosine(jfb.dx, exact.dx) > 0.8, `jfb: cosine ${cosine(jfb.dx, exact.dx)}`);
  assert.ok(cosine(phantom.dx, exact.dx) > cosine(jfb.dx, exact.dx), 'phantom is closer');
  assert.ok(relativeError(phantom.dx, exact.dx) < relativeError(jfb.dx, exact.dx));
  assert.not.ok(relativeError(jfb.dx, exact.dx) < 1e-2, 'and jfb is not exact, or this test could not tell them apart');
});

test('a cell that does not contract: the failure is data, and the gradient is finite', async () => {
  const patient = { forward: { ...tight, maxIterations: 60 }, backward: { ...tight, maxIterations: 60 } };
  const { outcome, da, dx } = await solve({ adjoint: 'implicit' }, 40, patient);
  assert.is.not(outcome.forward!.result, 'converged');
  assert.is((await solve({ adjoint: 'implicit' }, 0.7, patient)).outcome.forward!.result, 'converged', 'which one that contracts does');
  assert.ok(Number.isFinite(da) && dx.every(Number.isFinite));
});

test('what the weights get is said: implicit, its best iterate, or g where no step of the backward solve is finite', async () => {
  assert.is((await solve({ adjoint: 'implicit' })).outcome.gradient, 'implicit');
  assert.is((await solve({ adjoint: 'jfb' })).outcome.gradient, 'jfb');
  assert.is((await solve({ adjoint: 'unrolled', steps: 3 })).outcome.gradient, 'unrolled');
  const [jfb, short] = [
    await solve({ adjoint: 'jfb' }),
    await solve({ adjoint: 'implicit' }, 0.7, { forward: tight, backward: { ...tight, maxIterations: 2 } }),
  ];
  assert.is(short.outcome.gradient, 'implicit, inexact (backward max-iterations)');
  assert.ok(short.dx.every(Number.isFinite) && relativeError(short.dx, jfb.dx) > 1e-2, 'and not g');
  // f(z) = √z + x with x = 0: z* = 0, where the slope is infinite; the first Jᵀv + g is not finite.
  const roots = async (adjoint: Adjoint) => {
    const graph = new Graph();
    const [input, goal] = [graph.input('x', shape), graph.input('target', shape)];
    const node = deq(graph, 'deq', { cell: (z) => add(sqrt(z), input), shape, loss: (y) => mse(y, goal), wrt: [input], adjoint });
    const schedule = await Schedule.build(await gpu(), graph);
    schedule.upload(input, new Float32Array(x.data.length));
    schedule.upload(goal, f32(target));
    const outcome = await runDeq(schedule, node, { forward: tight, backward: tight });
    const gradient = await schedule.read(node.gradients[0]);
    schedule.destroy();
    return { outcome, gradient };
  };
  const broken = await roots({ adjoint: 'implicit' });
  assert.is(broken.outcome.gradient, 'jfb (backward non-finite)');
  assert.ok(broken.gradient.every(Number.isFinite) && norm(broken.gradient) > 0);
  assert.equal(broken.gradient, (await roots({ adjoint: 'jfb' })).gradient);
});

test('memory: planned before any step for implicit and jfb, a small part of what 64 unrolled steps take; checkpointed lies between', () => {
  const peak = (adjoint: Adjoint) => {
    const graph = new Graph();
    const big = [1, 1, 20, 24, 28];
    const [a, input, goal] = [graph.input('a', [1]), graph.input('x', big), graph.input('target', big)];
    const cell = (z: Tensor) => add(mul(a, gaussian(div(z, sqrt(scale(square(z), 1, 1))), 0.8)), input);
    deq(graph, 'deq', { cell, shape: big, loss: (y) => mse(y, goal), wrt: [a, input], adjoint });
    return plan(graph).peak.total;
  };
  const unrolled = [8, 16, 32, 64].map((steps) => peak({ adjoint: 'unrolled', steps }));
  const growth = unrolled.slice(1).map((p, i) => (p - unrolled[i]) / (8 * 2 ** i));
  growth.forEach((g) => close(g, growth[0], 0.05, 'bytes a step'));
  const checkpointed = peak({ adjoint: 'checkpointed', steps: 64 });
  assert.ok(checkpointed < 0.25 * unrolled[3], `${checkpointed} against ${unrolled[3]}`);
  assert.ok(peak({ adjoint: 'implicit' }) < 0.1 * unrolled[3]);
  assert.ok(peak({ adjoint: 'jfb' }) < 0.08 * unrolled[3]);
});

test('detach: the value passes, the gradient does not', async () => {
  const { y, grads } = await evaluate(([z]) => add(square(z), detach(square(z))), [x], target);
  assert.ok(
    relativeError(
      y,
      x.data.map((v) => 2 * v * v),
    ) < 1e-6,
  );
  assert.ok(
    relativeError(
      grads[0]!,
      x.data.map((v, i) => 2 * v * target.data[i]),
    ) < 1e-6,
  );
});

test('bad use is refused with shapes', () => {
  const graph = new Graph();
  assert.throws(() => trace(graph, { adjoint: 'unrolled', steps: 0 }), /whole number of steps/);
  const other = new Graph();
  const wide = other.input('wide', [1, 2, 5, 6, 7]);
  assert.throws(
    () => trace(other, { adjoint: 'jfb' }, { cell: (z) => mul(z, wide) }),
    /the cell returns \[1,2,5,6,7\] for a state of \[1,1,5,6,7\]/,
  );
  for (const adjoint of [{ adjoint: 'jfb' }, { adjoint: 'unrolled', steps: 2 }, { adjoint: 'checkpointed', steps: 2 }] as const) {
    const decayed = new Graph();
    const [w, input] = [decayed.input('w', shape), decayed.input('x', shape)];
    const problem = { cell: (z: Tensor) => add(mul(w, z), input), shape, wrt: [w], adjoint };
    const loss = (y: Tensor) => add(dot(y, y), dot(w, w));
    assert.throws(() => deq(decayed, 'deq', { ...problem, loss }), /deq: the loss depends on w not through y alone/);
  }
});

test.run();
