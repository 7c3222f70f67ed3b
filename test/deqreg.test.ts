// The learned cells under the equilibrium node: a few training steps fit a pair under every adjoint; weights are reproducible bit for bit.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Adjoint } from '../src/deq/deq.ts';
import { plan, Schedule } from '../src/index.ts';
import { phantom } from '../src/register/phantom.ts';
import { beginTraining, runTrainingStep, traceTrainingStep, type TrainingStepOptions, unitGrid } from '../src/train/step.ts';
import { gpu } from './gpu.ts';

const pair = phantom('brain', [16, 20, 18], 1);
const image = (data: Float32Array) => data.map((v) => v / 200);
const images = { fixed: image(pair.fixed.data), moving: image(pair.moving.data) };

type Options = Partial<TrainingStepOptions> & { adjoint: Adjoint };

async function train(options: Options, steps: number): Promise<{ losses: number[]; last: Float32Array }> {
  const traced = traceTrainingStep({ cell: 'deqreg', channels: 4, similarity: 'detached', grid: unitGrid([16, 20, 18]), ...options });
  const schedule = await Schedule.build(await gpu(), traced.graph);
  try {
    beginTraining(schedule, traced, 7);
    const { parameters } = traced.cell;
    const weak = new Map(parameters.initial(7)); // as it starts, it is nearly done with this pair
    const { shape, data } = weak.get('leave.weight')!;
    parameters.upload(schedule, weak.set('leave.weight', { shape, data: data.map((w) => w / 100) }));
    const losses: number[] = [];
    for (let k = 0; k < steps; k++) losses.push((await runTrainingStep(schedule, traced, images, { rate: 3e-3, maxIterations: 6 })).loss);
    return { losses, last: await schedule.read(traced.cell.parameters.tensors.get('leave.weight')!) };
  } finally {
    schedule.destroy();
  }
}

const runs: { options: Options; steps?: number }[] = [
  { options: { adjoint: { adjoint: 'implicit' } } },
  { options: { adjoint: { adjoint: 'jfb' } } },
  { options: { adjoint: { adjoint: 'phantom', steps: 2, damping: 0.5 } } },
  { options: { adjoint: { adjoint: 'unrolled', steps: 3 } } },
  { options: { adjoint: { adjoint: 'checkpointed', steps: 3 } } },
  { options: { adjoint: { adjoint: 'implicit' }, similarity: 'exact' } },
  // It starts without a regulariser, far from convergence in 6 iterations: its loss falls more slowly, and without second derivatives
  // unevenly.
  { options: { adjoint: { adjoint: 'implicit' }, cell: 'gradirn', similarity: 'exact' }, steps: 16 },
  { options: { adjoint: { adjoint: 'jfb' }, cell: 'gradirn' }, steps: 24 },
];
if ((await gpu()).device.features.has('shader-f16')) runs.push({ options: { adjoint: { adjoint: 'jfb' }, dtype: 'f16' } });
else console.log('deqreg: the adapter has no shader-f16; training in f16 is left out');

for (const { options, steps = 8 } of runs) {
  const { adjoint, ...more } = options;
  test(`${[...Object.values(more), adjoint.adjoint].join(', ')}: the loss falls`, async () => {
    const { losses } = await train(options, steps);
    const last = (losses.at(-1)! + losses.at(-2)!) / 2;
    assert.ok(losses.every(Number.isFinite), losses.join(', '));
    assert.ok(last < losses[0] - 0.01, losses.join(', '));
  });
}

test('two runs with one seed give the same weights, bit for bit', async () => {
  const [a, b] = [await train({ adjoint: { adjoint: 'implicit' } }, 3), await train({ adjoint: { adjoint: 'implicit' } }, 3)];
  assert.equal(a.losses, b.losses);
  assert.equal(Buffer.from(a.last.buffer), Buffer.from(b.last.buffer));
});

test('planned memory: constant in the solver steps by construction, unrolled grows by one cell a step', () => {
  const peak = (adjoint: Adjoint) =>
    plan(traceTrainingStep({ cell: 'deqreg', channels: 16, similarity: 'detached', grid: unitGrid([20, 24, 28]), adjoint }).graph).peak
      .total;
  const [implicit, jfb] = [peak({ adjoint: 'implicit' }), peak({ adjoint: 'jfb' })];
  const [twelve, twentyFour] = [12, 24].map((steps) => peak({ adjoint: 'unrolled', steps }));
  const checkpointed = peak({ adjoint: 'checkpointed', steps: 12 });
  assert.ok(jfb <= implicit && implicit < checkpointed && checkpointed < twelve, [jfb, implicit, checkpointed, twelve].join(', '));
  assert.ok(twelve / implicit > 4, `unrolled / implicit ${twelve / implicit}`);
  const growth = (twentyFour - twelve) / 12;
  assert.ok(Math.abs(peak({ adjoint: 'unrolled', steps: 13 }) - twelve - growth) < 0.2 * growth);
});

test.run();
