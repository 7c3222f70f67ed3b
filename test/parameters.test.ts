// Parameters of a cell: initial values as PyTorch draws them, upload, training step, read back, save and load.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  assign,
  encodeSafetensors,
  Graph,
  type Initialiser,
  kaimingUniform,
  normal,
  Parameters,
  type ParameterValues,
  parseSafetensors,
  scale,
  Schedule,
  type Shape,
  zeros,
} from '../src/index.ts';
import { gpu } from './gpu.ts';

function cell(initialise: Initialiser = kaimingUniform()) {
  const graph = new Graph();
  const parameters = new Parameters(graph);
  const weight = parameters.declare('conv.weight', [8, 4, 3, 3, 3], initialise);
  const bias = parameters.declare('conv.bias', [8], kaimingUniform(4 * 27));
  graph.phase('double', () => [weight, bias].forEach((p) => assign(p, scale(p, 2))));
  return { graph, parameters };
}
const values = (initialise: Initialiser, shape: Shape = [64, 16, 3, 3, 3]): Float32Array => {
  const parameters = new Parameters(new Graph());
  parameters.declare('p', shape, initialise);
  return parameters.initial(1).get('p')!.data;
};
const rms = (x: Float32Array) => Math.hypot(...x) / Math.sqrt(x.length);

test('initial values: the same for a seed, others for another; bounds and moments', () => {
  const { parameters } = cell();
  assert.equal(parameters.initial(3), parameters.initial(3));
  assert.not.equal(parameters.initial(3), parameters.initial(4));
  const bound = 1 / Math.sqrt(16 * 27),
    uniform = values(kaimingUniform());
  const largest = uniform.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  assert.ok(largest <= Math.fround(bound) && largest > 0.999 * bound);
  assert.ok(Math.abs(rms(uniform) / (bound / Math.sqrt(3)) - 1) < 0.01);
  const gaussian = values(normal(1e-3));
  assert.ok(Math.abs(rms(gaussian) / 1e-3 - 1) < 0.01);
  assert.ok(Math.abs(gaussian.reduce((a, b) => a + b) / gaussian.length) < 2e-5);
  assert.ok(values(zeros).every((v) => v === 0) && values(normal(0)).every((v) => v === 0));
  assert.ok(rms(values(kaimingUniform(27), [4000])) > 0.1);
  assert.throws(() => values(kaimingUniform(), [8]), /kaimingUniform: give the fan-in of the layer for a parameter \[8\]/);
});

test('upload, run, read back, save and load', async () => {
  const { graph, parameters } = cell();
  const schedule = await Schedule.build(await gpu(), graph);
  assert.equal(schedule.plan.peak.byTag.weight, 4 * (8 * 4 * 27 + 8));
  const initial = parameters.initial(5);
  parameters.upload(schedule, initial);
  assert.equal(await parameters.read(schedule), initial);
  schedule.run('double');
  const trained = await parameters.read(schedule);
  const doubled = new Map([...initial].map(([name, { shape, data }]) => [name, { shape, data: data.map((v) => 2 * v) }]));
  assert.equal(trained, doubled);
  const { tensors } = parseSafetensors('weights', encodeSafetensors(trained));
  parameters.upload(schedule, initial);
  parameters.upload(schedule, tensors);
  assert.equal(await parameters.read(schedule), doubled);
  assert.equal([...parameters.tensors.keys()], ['conv.weight', 'conv.bias']);
  schedule.destroy();
});

test('what does not fit is refused with names and shapes', () => {
  const { parameters } = cell();
  const schedule = { upload: () => assert.unreachable('nothing is uploaded') } as unknown as Schedule;
  const good = parameters.initial(1),
    wrong = (change: (m: Map<string, any>) => void): ParameterValues => {
      const m = new Map(good);
      change(m);
      return m;
    };
  assert.throws(
    () =>
      parameters.upload(
        schedule,
        wrong((m) => {
          m.delete('conv.bias');
          m.set('conv.b', m.get('conv.weight'));
        }),
      ),
    /parameters: missing conv\.bias; unknown conv\.b$/,
  );
  assert.throws(
    () =>
      parameters.upload(
        schedule,
        wrong((m) => m.set('conv.bias', { shape: [8, 1], data: new Float32Array(8) })),
      ),
    /parameter conv\.bias is \[8\], the value \[8,1\]/,
  );
  assert.throws(() => parameters.declare('conv.bias', [8], zeros), /parameter conv\.bias is declared twice/);
});

test.run();
