// Storage in f16: convolutions and what a network puts between them, to the digits that f16 has; and where it is refused.
import { create } from 'webgpu';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { add, cast, concat, conv3d, detach, gaussian, Gpu, Graph, leakyRelu, plan, resize, Schedule, type Tensor } from '../src/index.ts';
import { evaluate, gpu } from './gpu.ts';
import { type NdArray, relativeError, uniform } from './reference/ndarray.ts';

/** Held outside the test: Dawn still calls into it after the device has gone, and crashes where it was collected. */
const dawn = create([]);
const TOLERANCE = 2e-3;
const offered = (await gpu()).device.features.has('shader-f16');
if (!offered) console.log('half: the adapter has no shader-f16; values are not compared');

const xs = [uniform([2, 5, 9, 7, 10], 1), uniform([2, 15, 9, 7, 10], 2)];
const weights = (k: number) => [uniform([6, 20, k, k, k], 3), uniform([6], 4)];
type Network = (xs: Tensor[], dtype: 'f32' | 'f16') => Tensor;
const cases: Record<string, { inputs: NdArray[]; f: Network }> = {
  resize: { inputs: [xs[0]], f: ([x], to) => resize(cast(x, to), [5, 14, 10]) },
  'a sum of which one part is constant': { inputs: [xs[0]], f: ([x], to) => add(cast(x, to), detach(cast(x, to))) },
  'leaky ReLU, added': { inputs: [xs[0]], f: ([x], to) => add(leakyRelu(cast(x, to)), cast(x, to)) },
};
for (const [k, stride, padding] of [
  [3, 1, 'replicate'],
  [3, 2, 'zero'],
] as const) {
  cases[`conv3d ${k}³, stride ${stride}, ${padding} padding`] = {
    inputs: [...weights(k), ...xs],
    f: ([w, b, ...parts], to) =>
      conv3d(
        parts.map((x) => cast(x, to)),
        w,
        b,
        { stride, padding },
      ),
  };
}

if (offered)
  for (const [label, { inputs, f }] of Object.entries(cases)) {
    test(`${label}: f16 storage agrees with f32`, async () => {
      const graph = new Graph();
      const { shape } = graph.phase('shape', () =>
        f(
          inputs.map((x) => graph.input('x', x.shape)),
          'f32',
        ),
      );
      const dy = uniform([...shape], 9);
      const [full, half] = [
        await evaluate((inputs) => f(inputs, 'f32'), inputs, dy),
        await evaluate((inputs) => cast(f(inputs, 'f16'), 'f32'), inputs, dy),
      ];
      const close = (a: ArrayLike<number>, b: ArrayLike<number>, what: string) => {
        const error = relativeError(a, b);
        assert.ok(error < TOLERANCE, `${what}: relative error ${error}`);
        assert.ok(error > 1e-6, `${what}: as exact as f32, so nothing was stored in f16`);
      };
      close(half.y, full.y, 'value');
      half.grads.forEach((g, i) => close(g!, full.grads[i]!, `gradient of input ${i}`));
    });
  }

test('f16 takes half the bytes in the plan', () => {
  const activations = (to: 'f32' | 'f16') => {
    const graph = new Graph();
    graph.phase('all', () => {
      const x = cast(graph.input('x', [1, 1, 16, 16, 16]), to),
        w = graph.input('w', [8, 1, 3, 3, 3]);
      graph.output(cast(resize(conv3d(x, w), [4, 4, 4]), 'f32'));
    });
    return plan(graph).slots.find((slot) => slot.label === 'conv3d')!.bytes;
  };
  assert.is(activations('f32'), 8 * 16 ** 3 * 4);
  assert.is(activations('f16'), 8 * 16 ** 3 * 2);
});

test('f16 is refused where an op, or the adapter, does not have it', async () => {
  const graph = new Graph();
  graph.phase('all', () => {
    const x = graph.input('x', [1, 1, 8, 8, 8]),
      half = cast(x, 'f16'),
      w = graph.input('w', [8, 1, 3, 3, 3]);
    assert.throws(() => gaussian(half, 1), /^gaussian: takes f32, got f16; cast f16 to f32 first$/);
    assert.throws(() => concat(x, half), /^concat: takes f32, got f32, f16/);
    assert.throws(() => conv3d([x, half], graph.input('wide', [8, 2, 3, 3, 3])), /inputs must share a dtype, got f32, f16; cast them/);
    assert.throws(() => conv3d(half, cast(w, 'f16')), /^conv3d: w and bias are stored as f32, got f16; cast them$/);
    assert.throws(() => graph.output(half), /cast \[1,1,8,8,8\] is f16; cast it to f32 to read it/);
    graph.output(cast(half, 'f32'));
  });
  const adapter = await dawn.requestAdapter();
  const poor = await Gpu.open({ device: await adapter!.requestDevice() });
  const refusal = await Schedule.build(poor, graph).then(() => '', String);
  assert.match(refusal, /narrow stores f16, but .* has no shader-f16; use f32, or another adapter/);
  poor.device.destroy();
});

test.run();
