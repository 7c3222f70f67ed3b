// The learned cell under the equilibrium node: a few training steps fit a pair under every adjoint; weights are reproducible bit for bit.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Adjoint, deq, runDeq } from '../src/deq/deq.ts';
import { Graph, plan, Schedule } from '../src/index.ts';
import { deqregCell, DeqregWeights } from '../src/models/deqreg.ts';
import { adam, adamState, add, centre, diffusion, identity, lncc, localStatistics, resetAdam, scale, warp, withGradient } from '../src/ops/index.ts';
import { phantom } from '../src/register/phantom.ts';
import { gpu } from './gpu.ts';

const size = [18, 20, 16] as const; // D, H, W
const pair = phantom('brain', [16, 20, 18], 1);
const image = (data: Float32Array) => data.map((v) => v / 200);

/** One training step: forward solve, loss, backward, Adam. */
function trace(adjoint: Adjoint, channels: number, [d, h, w]: readonly [number, number, number]) {
  const graph = new Graph();
  const [fixed, moving] = [graph.input('fixed', [1, 1, d, h, w]), graph.input('moving', [1, 1, d, h, w])];
  const weights = new DeqregWeights(graph, channels);
  const images = graph.phase('images', () => {
    const still = centre(moving);
    return { still, level: { fixed: localStatistics(fixed, 5), moving: withGradient(still), matrix: identity, ratios: [1, 1, 1] as const } };
  });
  const node = deq(graph, 'deq', {
    cell: deqregCell(images.level, images.still, weights), shape: [1, 3, d, h, w], adjoint, wrt: weights.tensors,
    loss: (u) => add(scale(lncc(images.level.fixed, warp(images.still, u), 5), -1), diffusion(u)),
  });
  const states = weights.tensors.map((t) => adamState(t));
  graph.phase('begin', () => states.forEach(resetAdam));
  graph.phase('update', () => states.forEach((state, i) => adam(state, node.gradients[i]!, { rate: 3e-3 })));
  return { graph, fixed, moving, weights, node };
}

async function train(adjoint: Adjoint, steps: number): Promise<{ losses: number[]; last: Float32Array }> {
  const { graph, fixed, moving, weights, node } = trace(adjoint, 4, size);
  const schedule = await Schedule.build(await gpu(), graph);
  try {
    schedule.upload(fixed, image(pair.fixed.data));
    schedule.upload(moving, image(pair.moving.data));
    weights.parameters.upload(schedule, weights.parameters.initial(7));
    schedule.run('begin');
    const losses: number[] = [];
    const rule = { maxIterations: 6, rtol: 1e-3, atol: 0, patience: 6, divergence: Infinity };
    for (let k = 0; k < steps; k++) {
      schedule.upload(fixed, image(pair.fixed.data)); // inputs give their memory to later phases
      schedule.upload(moving, image(pair.moving.data));
      schedule.run('images');
      await runDeq(schedule, node, { forward: rule, backward: rule });
      losses.push((await schedule.read(node.loss))[0]!);
      schedule.run('update');
    }
    return { losses, last: await schedule.read(weights.layers.leave.weight) };
  } finally {
    schedule.destroy();
  }
}

const adjoints: Adjoint[] = [
  { adjoint: 'implicit' }, { adjoint: 'jfb' }, { adjoint: 'phantom', steps: 2, damping: 0.5 }, { adjoint: 'unrolled', steps: 3 }, { adjoint: 'checkpointed', steps: 3 },
];
for (const adjoint of adjoints) {
  test(`${adjoint.adjoint}: the loss falls`, async () => {
    const { losses } = await train(adjoint, 8);
    assert.ok(losses.every(Number.isFinite), losses.join(', '));
    assert.ok(losses[7]! < losses[0]! - 0.01, losses.join(', '));
  });
}

test('two runs with one seed give the same weights, bit for bit', async () => {
  const [a, b] = [await train({ adjoint: 'implicit' }, 3), await train({ adjoint: 'implicit' }, 3)];
  assert.equal(a.losses, b.losses);
  assert.equal(Buffer.from(a.last.buffer), Buffer.from(b.last.buffer));
});

test('planned memory: constant in the solver steps by construction, unrolled grows by one cell a step', () => {
  const peak = (adjoint: Adjoint) => plan(trace(adjoint, 16, [28, 24, 20]).graph).peak.total;
  const [implicit, jfb] = [peak({ adjoint: 'implicit' }), peak({ adjoint: 'jfb' })];
  const [twelve, twentyFour] = [12, 24].map((steps) => peak({ adjoint: 'unrolled', steps }));
  const checkpointed = peak({ adjoint: 'checkpointed', steps: 12 });
  assert.ok(jfb <= implicit && implicit < checkpointed && checkpointed < twelve!, [jfb, implicit, checkpointed, twelve].join(', '));
  assert.ok(twelve! / implicit > 4, `unrolled / implicit ${twelve! / implicit}`);
  const growth = (twentyFour! - twelve!) / 12;
  assert.ok(Math.abs(peak({ adjoint: 'unrolled', steps: 13 }) - twelve! - growth) < 0.2 * growth);
});

test.run();
