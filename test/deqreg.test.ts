// The learned cell under the equilibrium node: a few training steps fit a pair under every adjoint; weights are reproducible bit for bit.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Adjoint } from '../src/deq/deq.ts';
import { plan, Schedule } from '../src/index.ts';
import { phantom } from '../src/register/phantom.ts';
import { beginTraining, runTrainingStep, traceTrainingStep } from '../src/train/step.ts';
import { gpu } from './gpu.ts';

const pair = phantom('brain', [16, 20, 18], 1);
const image = (data: Float32Array) => data.map((v) => v / 200);
const images = { fixed: image(pair.fixed.data), moving: image(pair.moving.data) };

async function train(adjoint: Adjoint, steps: number): Promise<{ losses: number[]; last: Float32Array }> {
  const traced = traceTrainingStep({ cell: 'deqreg', channels: 4, similarity: 'detached', size: [16, 20, 18], adjoint });
  const schedule = await Schedule.build(await gpu(), traced.graph);
  try {
    beginTraining(schedule, traced, 7);
    const losses: number[] = [];
    for (let k = 0; k < steps; k++) losses.push((await runTrainingStep(schedule, traced, images, 6)).loss);
    return { losses, last: await schedule.read(traced.cell.parameters.tensors.get('leave.weight')!) };
  } finally {
    schedule.destroy();
  }
}

const adjoints: Adjoint[] = [
  { adjoint: 'implicit' },
  { adjoint: 'jfb' },
  { adjoint: 'phantom', steps: 2, damping: 0.5 },
  { adjoint: 'unrolled', steps: 3 },
  { adjoint: 'checkpointed', steps: 3 },
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
  const peak = (adjoint: Adjoint) =>
    plan(traceTrainingStep({ cell: 'deqreg', channels: 16, similarity: 'detached', size: [20, 24, 28], adjoint }).graph).peak.total;
  const [implicit, jfb] = [peak({ adjoint: 'implicit' }), peak({ adjoint: 'jfb' })];
  const [twelve, twentyFour] = [12, 24].map((steps) => peak({ adjoint: 'unrolled', steps }));
  const checkpointed = peak({ adjoint: 'checkpointed', steps: 12 });
  assert.ok(jfb <= implicit && implicit < checkpointed && checkpointed < twelve!, [jfb, implicit, checkpointed, twelve].join(', '));
  assert.ok(twelve! / implicit > 4, `unrolled / implicit ${twelve! / implicit}`);
  const growth = (twentyFour! - twelve!) / 12;
  assert.ok(Math.abs(peak({ adjoint: 'unrolled', steps: 13 }) - twelve! - growth) < 0.2 * growth);
});

test.run();
