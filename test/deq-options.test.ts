// Options of the equilibrium node: correction, Jacobian penalty, warm start, random budget; what each adds to gradients and to memory.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  add,
  type Adjoint,
  conv3d,
  deq,
  type DeqOutcome,
  type DeqProblem,
  type DeqRun,
  div,
  dot,
  drawIterations,
  axpby,
  fill,
  gaussian,
  gaussianField,
  grad,
  Graph,
  type Method,
  mse,
  mul,
  plan,
  runDeq,
  scale,
  Schedule,
  seededRandom,
  sqrt,
  square,
  type StopRule,
  sub,
  type Tensor,
} from '../src/index.ts';
import { f32, gpu } from './gpu.ts';
import { relativeError, uniform } from './reference/ndarray.ts';

const shape = [1, 1, 5, 6, 7];
const data = { x: f32(uniform(shape, 1, -1, 1)), goal: f32(uniform(shape, 2, -1, 1)) };
const rule = (maxIterations: number, more: Partial<StopRule> = {}): StopRule => ({
  maxIterations,
  rtol: 0,
  atol: 0,
  patience: maxIterations,
  divergence: 1e6,
  ...more,
});
const tight = rule(60, { rtol: 1e-7 });
const weights = { a: 0.7, b: 1.2 };

/** f(z) = a · G(bz/√(1 + (bz)²)) + x, with weights a and b. */
const cellOf = (a: Tensor, b: Tensor, x: Tensor) => (z: Tensor) => {
  const y = mul(b, z);
  return add(mul(a, gaussian(div(y, sqrt(scale(square(y), 1, 1))), 0.8)), x);
};

type Options = Partial<DeqProblem> & { begin?: number };

/** The node over the cell above; `begin` is a constant to start from. */
function traced({ begin, ...options }: Options) {
  const graph = new Graph();
  const [a, b, x, goal] = [graph.input('a', [1]), graph.input('b', [1]), graph.input('x', shape), graph.input('goal', shape)];
  const problem: DeqProblem = {
    cell: cellOf(a, b, x),
    shape,
    loss: (y) => mse(y, goal),
    wrt: [a, b, x],
    adjoint: { adjoint: 'jfb' },
    method: { method: 'picard' },
    initial: begin === undefined ? undefined : () => fill(graph, shape, begin),
    ...options,
  };
  const node = deq(graph, 'deq', problem);
  return { graph, node, z: node.linearisation && graph.output(node.linearisation.z), inputs: { a, b, x, goal } };
}

interface Result extends DeqOutcome {
  loss: number;
  gradients: Float32Array[];
  corrections: number[];
  penalty?: number;
  z: Float32Array;
}

/** Runs a node once for each of `runs`, on one schedule. */
async function solve(options: Options, ...runs: Partial<DeqRun>[]): Promise<Result[]> {
  const { graph, node, z, inputs } = traced(options);
  const schedule = await Schedule.build(await gpu(), graph);
  const results: Result[] = [];
  try {
    for (const run of runs) {
      schedule.upload(inputs.a, Float32Array.of(weights.a));
      schedule.upload(inputs.b, Float32Array.of(weights.b));
      schedule.upload(inputs.x, data.x);
      schedule.upload(inputs.goal, data.goal);
      const outcome = await runDeq(schedule, node, { forward: tight, backward: tight, ...run });
      const scalar = async (t: Tensor) => (await schedule.read(t))[0];
      const result: Result = { ...outcome, loss: await scalar(node.loss), gradients: [], corrections: [], z: await schedule.read(z!) };
      for (const g of node.gradients) result.gradients.push(await schedule.read(g));
      for (const t of node.corrections) result.corrections.push(await scalar(t));
      if (node.jacobianPenalty) result.penalty = await scalar(node.jacobianPenalty);
      results.push(result);
    }
  } finally {
    schedule.destroy();
  }
  return results;
}

const sum = (...fields: Float32Array[]) => fields[0].map((_, i) => fields.reduce((s, field) => s + field[i], 0));
const times = (factor: number, x: Float32Array) => x.map((v) => factor * v);
const same = (p: Float32Array[], q: Float32Array[]) => p.every((x, i) => Buffer.from(x.buffer).equals(Buffer.from(q[i].buffer)));

test('correction: the main gradient plus the weighted JFB gradients at the kept iterates', async () => {
  // With plain steps, a JFB node that ends after k evaluations linearises at the same z_k.
  const jfb = async (k: number) => (await solve({}, { forward: rule(k) }))[0];
  const correction = { iterations: [3, 6], weight: 0.4 };
  for (const [last, kept] of [
    [12, [3, 6]],
    [5, [3, 5]], // ends before the sixth iterate: the last one stands in
  ] as const) {
    const [corrected] = await solve({ correction }, { forward: rule(last) });
    const [main, ...parts] = [await jfb(last), await jfb(kept[0]), await jfb(kept[1])];
    assert.is(corrected.loss, main.loss);
    corrected.corrections.forEach((loss, i) => assert.ok(Math.abs(loss / parts[i].loss - 1) < 1e-6, `loss of ${kept[i]}`));
    corrected.gradients.forEach((g, i) => {
      const expected = sum(main.gradients[i], ...parts.map((part) => times(correction.weight, part.gradients[i])));
      assert.ok(relativeError(g, expected) < 1e-5, `gradient ${i}, ${last} steps: ${relativeError(g, expected)}`);
      assert.ok(relativeError(g, main.gradients[i]) > 0.1, 'and the correction is a part of it');
    });
  }
});

/** The penalty's value, unweighted, at a given z* for given weights. */
async function penaltyAt(z: Float32Array, a: number, b: number, seed: number, epsilon: number): Promise<number> {
  const graph = new Graph();
  const [at, x] = [graph.input('z', shape), graph.input('x', shape)];
  const value = graph.phase('all', () => {
    const cell = cellOf(fill(graph, [1], a), fill(graph, [1], b), x);
    const slope = scale(sub(cell(axpby(1, at, epsilon, gaussianField(fill(graph, [1], seed), shape))), cell(at)), 1 / epsilon);
    return graph.output(scale(dot(slope, slope), 1 / z.length));
  });
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(at, z);
  schedule.upload(x, data.x);
  schedule.run('all');
  const [found] = await schedule.read(value);
  schedule.destroy();
  return found;
}

const equilibria: Adjoint[] = [{ adjoint: 'jfb' }, { adjoint: 'implicit' }, { adjoint: 'phantom', steps: 3, damping: 0.7 }];
for (const adjoint of equilibria) {
  test(`Jacobian penalty, ${adjoint.adjoint}: its gradient is that of its value, and off it changes no bit`, async () => {
    const [epsilon, weight, seed] = [0.05, 2, 11];
    const [none] = await solve({ adjoint }, {});
    const options = { adjoint, jacobianPenalty: { weight, epsilon } };
    const [off, on, other, again] = await solve(options, {}, { jacobianPenalty: { seed } }, { jacobianPenalty: { seed: 12 } }, {});
    assert.ok(same(off.gradients, none.gradients) && same(again.gradients, none.gradients), 'off: the same bits as without');
    assert.equal([off.penalty, again.penalty, on.loss], [0, 0, none.loss]);
    assert.is.not(on.penalty, other.penalty, 'another seed, another field');
    assert.ok(Math.abs(on.penalty! / (await penaltyAt(on.z, weights.a, weights.b, seed, epsilon)) - 1) < 1e-5);
    const h = 0.02;
    for (const [i, key] of (['a', 'b'] as const).entries()) {
      const at = (step: number) => {
        const moved = { ...weights };
        moved[key] += step;
        return penaltyAt(on.z, moved.a, moved.b, seed, epsilon);
      };
      const expected = (weight * ((await at(h)) - (await at(-h)))) / (2 * h);
      const found = on.gradients[i][0] - off.gradients[i][0];
      assert.ok(Math.abs(found / expected - 1) < 1e-3, `for ${key}: ${found}, finite differences ${expected}`);
    }
  });
}

test('Jacobian penalty: for f(z) = az its expectation is a²', async () => {
  const graph = new Graph();
  const big = [1, 1, 20, 20, 20];
  const a = graph.input('a', [1]);
  const node = deq(graph, 'deq', {
    cell: (z) => mul(a, z),
    shape: big,
    loss: (y) => dot(y, y),
    wrt: [a],
    adjoint: { adjoint: 'jfb' },
    jacobianPenalty: { weight: 1 },
  });
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(a, Float32Array.of(0.6));
  await runDeq(schedule, node, { forward: rule(3), backward: rule(3), jacobianPenalty: { seed: 1 } });
  const [[value], [gradient]] = [await schedule.read(node.jacobianPenalty!), await schedule.read(node.gradients[0])];
  schedule.destroy();
  assert.ok(Math.abs(value / 0.36 - 1) < 0.05, `${value}`); // sd of the mean square of 8000 values: 1.6 %
  assert.ok(Math.abs(gradient / ((2 * value) / 0.6) - 1) < 1e-4, `${gradient}`);
});

test('warm start: the second run needs fewer steps, a restart as many as the first', async () => {
  const stop = { forward: rule(60, { rtol: 1e-4 }) };
  for (const begin of [undefined, 0.5]) {
    const [cold] = await solve({ begin }, stop);
    const [first, second, third] = await solve({ begin, warmStart: true }, { ...stop, restart: true }, stop, { ...stop, restart: true });
    assert.equal(first.forward, cold.forward);
    assert.equal(third, first);
    assert.is(second.forward!.result, 'converged');
    assert.ok(second.forward!.iterations < first.forward!.iterations, `${second.forward!.iterations}, ${first.forward!.iterations}`);
    assert.ok(relativeError(second.gradients[2], first.gradients[2]) < 1e-3);
  }
});

test('warm start after a solve that led away: from the best, not from where it ended', async () => {
  const graph = new Graph();
  const x = graph.input('x', [1]);
  const node = deq(graph, 'deq', {
    cell: (z) => add(scale(z, -1.5), x), // from 0: residuals 1, 1.5, 2.25, …; the best value is f(0) = 1
    shape: [1],
    loss: (y) => dot(y, y),
    wrt: [x],
    adjoint: { adjoint: 'jfb' },
    method: { method: 'picard' },
    warmStart: true,
  });
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(x, Float32Array.of(1));
  const run = { forward: rule(4), backward: rule(4) };
  const first = await runDeq(schedule, node, { ...run, restart: true });
  schedule.upload(x, Float32Array.of(1));
  const second = await runDeq(schedule, node, run);
  schedule.destroy();
  assert.equal([first.forward!.residuals, second.forward!.residuals[0]], [[1, 1.5, 2.25, 3.375], 1.5]); // |f(1) − 1|
});

test('phantom: the gradient of so many damped steps from the fixed point, spelled out', async () => {
  for (const [steps, damping] of [
    [1, 0.3],
    [3, 0.3],
    [2, 1],
  ] as const) {
    const [found] = await solve({ adjoint: { adjoint: 'phantom', steps, damping } }, {});
    const graph = new Graph();
    const [a, b, x, goal, z] = ['a', 'b', 'x', 'goal', 'z'].map((name, i) => graph.input(name, i < 2 ? [1] : shape)) as [
      Tensor,
      ...Tensor[],
    ];
    const gradients = graph.phase('all', () => {
      const cell = cellOf(a, b, x);
      let y = cell(z);
      for (let k = 1; k < steps; k++) y = add(scale(y, 1 - damping), scale(cell(y), damping));
      return grad(mse(y, goal), [a, b, x]).map((g) => graph.output(g));
    });
    const schedule = await Schedule.build(await gpu(), graph);
    [Float32Array.of(weights.a), Float32Array.of(weights.b), data.x, data.goal, found.z].forEach((values, i) =>
      schedule.upload([a, b, x, goal, z][i], values),
    );
    schedule.run('all');
    for (const [i, g] of gradients.entries()) {
      const error = relativeError(found.gradients[i], await schedule.read(g));
      assert.ok(error < 1e-5, `${steps} steps, damping ${damping}, gradient ${i}: ${error}`);
    }
    schedule.destroy();
  }
});

test('implicit: the adjoint may be solved by another method than the map', async () => {
  const stop = { forward: tight, backward: rule(60, { rtol: 1e-5 }) };
  const by = async (method?: Method) => (await solve({ adjoint: { adjoint: 'implicit', method } }, stop))[0];
  const [plain, same, accelerated] = [await by(), await by({ method: 'picard' }), await by({ method: 'anderson', window: 5 })];
  assert.equal(same.backward, plain.backward);
  assert.ok(
    accelerated.backward!.iterations < plain.backward!.iterations,
    `${accelerated.backward!.iterations}, ${plain.backward!.iterations}`,
  );
  accelerated.gradients.forEach((g, i) => assert.ok(relativeError(g, plain.gradients[i]) < 1e-3));
});

test('random budget: every count of the range, equally often, the same for the same seed', () => {
  const draw = (seed: number) => {
    const random = seededRandom(seed);
    return Array.from({ length: 4000 }, () => drawIterations(random, 4, 7));
  };
  assert.equal(draw(3), draw(3));
  for (const k of [4, 5, 6, 7]) {
    const share = draw(3).filter((v) => v === k).length / 4000;
    assert.ok(Math.abs(share - 0.25) < 0.03, `${k}: ${share}`);
  }
  assert.is(drawIterations(Math.random, 5, 5), 5);
  for (const [min, max] of [
    [0, 3],
    [4, 3],
    [1, 2.5],
  ] as const)
    assert.throws(() => drawIterations(Math.random, min, max), /needs whole numbers 1 ≤ min ≤ max/);
});

/** Peak of a cell of two convolutions, whose intermediate values are several states. */
function peak(adjoint: Adjoint, options: Partial<DeqProblem> = {}): number {
  const graph = new Graph();
  const field = [1, 3, 20, 24, 28];
  const [enter, leave] = [graph.input('enter', [8, 3, 3, 3, 3], 'weight'), graph.input('leave', [3, 8, 3, 3, 3], 'weight')];
  const goal = graph.input('goal', field);
  const cell = (z: Tensor) => conv3d(conv3d(z, enter, undefined, { activation: 'leakyRelu' }), leave);
  deq(graph, 'deq', { cell, shape: field, loss: (y) => mse(y, goal), wrt: [enter, leave], adjoint, ...options });
  return plan(graph).peak.total;
}

test('memory: a state for each kept iterate, two for the penalty, one for the warm start', () => {
  const state = 4 * 3 * 20 * 24 * 28;
  const small = 0.15 * state; // launch parameters (256 bytes each) and one more set of gradients
  for (const adjoint of equilibria) {
    for (const method of [{ method: 'picard' }, { method: 'anderson' }] as const) {
      const more = (options: Partial<DeqProblem>) => peak(adjoint, { method, ...options }) - peak(adjoint, { method });
      const [one, two, penalty, warm] = [
        more({ correction: { iterations: [3], weight: 1 } }),
        more({ correction: { iterations: [3, 6], weight: 1 } }),
        more({ jacobianPenalty: { weight: 1 } }),
        more({ warmStart: true }),
      ];
      const told = `${adjoint.adjoint}, ${method.method}: ${[one, two, penalty, warm].map((bytes) => (bytes / state).toFixed(2))} states`;
      assert.ok(one <= state + small && two <= 2 * state + small && penalty <= 2 * state + small && warm <= state + small, told);
    }
  }
});

test('options out of range, and those that do not apply, are refused', async () => {
  const refused = (options: Partial<DeqProblem>, message: RegExp) => assert.throws(() => traced(options), message);
  const unrolled: Adjoint = { adjoint: 'unrolled', steps: 3 };
  refused({ adjoint: unrolled, correction: { iterations: [3], weight: 1 } }, /correction does not apply to unrolled; use implicit/);
  refused(
    { adjoint: { ...unrolled, adjoint: 'checkpointed' }, jacobianPenalty: { weight: 1 }, warmStart: true },
    /jacobianPenalty, warmStart/,
  );
  refused({ correction: { iterations: [], weight: 1 } }, /correction.iterations must be rising whole numbers above 0, got \[\]/);
  refused({ correction: { iterations: [6, 3], weight: 1 } }, /got \[6, 3\]/);
  refused({ correction: { iterations: [3], weight: -1 } }, /correction.weight must be a finite number above 0, got -1/);
  refused({ jacobianPenalty: { weight: NaN } }, /jacobianPenalty.weight must be a finite number above 0, got NaN/);
  refused({ jacobianPenalty: { weight: 1, epsilon: 0 } }, /jacobianPenalty.epsilon must be a finite number above 0, got 0/);
  refused({ adjoint: { adjoint: 'exact' } as unknown as Adjoint }, /unknown adjoint exact; there are implicit, jfb, phantom, checkpointed/);
  refused(
    { adjoint: { adjoint: 'implicit', steps: 3 } as Adjoint },
    /deq: implicit: unknown option adjoint.steps; there are adjoint, method/,
  );
  refused({ jacobianPenality: { weight: 1 } } as object, /deq: unknown option jacobianPenality; there are cell, shape/);
  refused({ adjoint: { adjoint: 'phantom', steps: 0, damping: 1 } }, /phantom needs a whole number of steps above 0, got 0/);
  refused({ adjoint: { adjoint: 'phantom', steps: 2, damping: 0 } }, /damping of phantom must lie in \(0, 1\], got 0/);
  const fails = (options: Partial<DeqProblem>, run: Partial<DeqRun>) =>
    solve(options, run).then(
      () => 'nothing was refused',
      (error: Error) => error.message,
    );
  assert.match(await fails({}, { restart: true }), /restart applies to a node traced with warmStart/);
  assert.match(await fails({}, { jacobianPenalty: { seed: 1 } }), /jacobianPenalty applies to a node traced with jacobianPenalty/);
  assert.match(await fails({ jacobianPenalty: { weight: 1 } }, { jacobianPenalty: { seed: 0.5 } }), /seed .* must be a whole number/);
  assert.match(await fails({ warmStart: true }, {}), /deq.previous .* nothing has written yet/);
});

test.run();
