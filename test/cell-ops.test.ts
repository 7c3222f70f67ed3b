// What learned cells are built of, where the generic tests do not look: activations far out and at NaN, statistics of hard inputs,
// refusals.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { elu, gaussian, Graph, instanceNorm, leakyRelu, relu, sigmoid, tanh, weightNorm } from '../src/index.ts';
import { evaluate } from './gpu.ts';
import { reference } from './reference/index.ts';
import { map, type NdArray, ndarray, relativeError, uniform } from './reference/ndarray.ts';

const activations = { relu, leakyRelu, elu, tanh, sigmoid };
const line = (...values: number[]) => ndarray([values.length], values);

for (const [name, f] of Object.entries(activations)) {
  test(`${name}: far out nothing overflows, values and slopes are right`, async () => {
    const x = line(-3e38, -1e4, -200, -89, -30, 30, 89, 200, 1e4, 3e38),
      ones = map(x, () => 1);
    const {
      y,
      grads: [slope],
    } = await evaluate(([v]) => f(v), [x], ones);
    const expected = reference[name].forward([x], {}).data,
      slopes = reference[name].vjp([x], {}, ones)[0]!.data;
    x.data.forEach((v, i) => {
      assert.ok(Math.abs(y[i] - expected[i]) <= 1e-5 * Math.abs(expected[i]) + 1e-37, `${name}(${v}) = ${y[i]}, not ${expected[i]}`);
      assert.ok(Math.abs(slope![i] - slopes[i]) <= 1e-6, `${name}'(${v}) = ${slope![i]}, not ${slopes[i]}`);
    });
  });

  test(`${name}: NaN stays visible; at 0 the slope is PyTorch's`, async () => {
    const {
      y,
      grads: [slope],
    } = await evaluate(([v]) => f(v), [line(NaN, 0)], line(1, 1));
    assert.ok(Number.isNaN(y[0]), `${name}(NaN) = ${y[0]}`);
    assert.ok(Math.abs(slope![1] - { relu: 0, leakyRelu: 0.2, elu: 1, tanh: 1, sigmoid: 0.25 }[name]!) < 1e-7);
  });
}

/** Against the reference, in the value and all gradients. */
async function compare(name: 'instanceNorm', inputs: NdArray[], tolerance: number) {
  const expected = reference[name].forward(inputs, {}),
    cotangent = uniform(expected.shape, 1);
  const { y, grads } = await evaluate(([x, gamma, beta]) => instanceNorm(x, gamma, beta), inputs, cotangent);
  [y, ...grads].forEach((actual, i) => {
    const error = relativeError(actual!, [expected, ...reference[name].vjp(inputs, {}, cotangent)][i]!.data);
    assert.ok(error < tolerance, `${i ? `gradient ${i - 1}` : 'value'}: ${error}`);
  });
}

test('instanceNorm of many raw values, 1000 ± 1, more than one round of all workgroups', async () => {
  await compare('instanceNorm', [uniform([1, 1, 17, 21, 23], 2, 999, 1001), line(1.5), line(-0.5)], 1e-5);
});

test('instanceNorm where the first voxel is far from all others', async () => {
  const x = uniform([1, 1, 17, 21, 23], 3, 999, 1001);
  x.data[0] = 0;
  await compare('instanceNorm', [x], 1e-4); // the statistics are then those of values near 1000, which leave f32 four digits behind the point
});

test('instanceNorm of a constant is 0, and its gradient finite', async () => {
  const {
    y,
    grads: [dx],
  } = await evaluate(([x]) => instanceNorm(x), [map(uniform([1, 2, 3, 4, 5], 4), () => 7.3)], uniform([1, 2, 3, 4, 5], 5));
  assert.ok(y.every((v) => v === 0));
  assert.ok(dx!.every(Number.isFinite));
});

test('what does not fit is refused, with the shapes', () => {
  const graph = new Graph();
  const x = graph.input('x', [1, 4, 3, 3, 3]),
    three = graph.input('three', [3]),
    v = graph.input('v', [8, 4, 3, 3, 3]);
  graph.phase('all', () => {
    assert.throws(() => instanceNorm(x, three, three), /instanceNorm: gamma and beta must be \[4\] for x \[1,4,3,3,3\], got \[3\]/);
    assert.throws(() => instanceNorm(x, three), /gamma and beta come together, got only gamma/);
    assert.throws(() => instanceNorm(three), /instanceNorm: x must be \[N, C, D, H, W\], got \[3\]/);
    assert.throws(() => instanceNorm(graph.input('one', [2, 4, 1, 1, 1])), /one voxel has no variance, got x \[2,4,1,1,1\]/);
    assert.throws(() => instanceNorm(x, undefined, undefined, 0), /epsilon must be above 0, got 0/);
    assert.throws(
      () => weightNorm(v, three),
      /weightNorm: g needs one value for each of the 8 output channels of v \[8,4,3,3,3\], got \[3\]/,
    );
    const long = graph.input('long', [1, 1, 1, 1, 400]);
    assert.throws(() => gaussian(long, 84), /gaussian: sigma 84 along an axis of 400 voxels; at most 83 voxels there: resize first/);
    gaussian(graph.input('short', [1, 1, 1, 1, 251]), [1000, 0, 0]);
    assert.throws(() => leakyRelu(x, -1), /leakyRelu: the slope must be ≥ 0, got -1/);
    assert.throws(() => elu(x, NaN), /elu: the alpha must be ≥ 0, got NaN/);
  });
});

test.run();
