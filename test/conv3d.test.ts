// conv3d beyond the small cases: channels that need several passes, adjoint identities at odd sizes, and what is refused.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { concat, conv3d, type ConvOptions, Graph, type Tensor } from '../src/index.ts';
import { evaluate } from './gpu.ts';
import { reference } from './reference/index.ts';
import { dot, map, type NdArray, ndarray, norm, relativeError, uniform, zeros } from './reference/ndarray.ts';

for (const [label, inputs, outputs, k, stride] of [
  ['40 channels of 3³ to 35', 40, 35, 3, 1],
  ['37 of 3³ to 40, stride 2', 37, 40, 3, 2],
  ['9 of 5³ to 18', 9, 18, 5, 1],
  ['35 of 5³ to 3, stride 2', 35, 3, 5, 2],
] as const) {
  test(`several passes: ${label}`, async () => {
    const xs = [uniform([1, inputs, 3, 2, 3], 1), uniform([outputs, inputs, k, k, k], 2), uniform([outputs], 3)];
    const attrs: ConvOptions = { stride, activation: 'leakyRelu' };
    const expected = reference.conv3d.forward(xs, attrs),
      dy = uniform(expected.shape, 4);
    const { y, grads } = await evaluate(([x, w, b]) => conv3d(x, w, b, attrs), xs, dy);
    const compare = (actual: ArrayLike<number>, { data }: NdArray) =>
      assert.ok(relativeError(actual, data) < 1e-5, `relative error ${relativeError(actual, data)}`);
    compare(y, expected);
    reference.conv3d.vjp(xs, attrs, dy).forEach((g, i) => compare(grads[i]!, g!));
  });
}

for (const options of [
  { stride: 1, padding: 'replicate' },
  { stride: 2, activation: 'leakyRelu' },
] as const) {
  test(`several x are one with the channels joined: stride ${options.stride}`, async () => {
    const xs = [uniform([2, 5, 7, 6, 9], 1), uniform([2, 18, 7, 6, 9], 2), uniform([2, 1, 7, 6, 9], 3)];
    const inputs = [uniform([6, 24, 3, 3, 3], 4), uniform([6], 5), ...xs];
    const half = (n: number) => Math.ceil(n / options.stride);
    const dy = uniform([2, 6, half(7), half(6), half(9)], 6);
    const listed = await evaluate(([w, b, ...parts]) => conv3d(parts, w, b, options), inputs, dy);
    const joined = await evaluate(([w, b, ...parts]) => conv3d(concat(...parts), w, b, options), inputs, dy);
    assert.ok(relativeError(listed.y, joined.y) < 1e-6, `relative error ${relativeError(listed.y, joined.y)}`);
    listed.grads.forEach((g, i) =>
      assert.ok(relativeError(g!, joined.grads[i]!) < 1e-6, `gradient ${i}: ${relativeError(g!, joined.grads[i]!)}`),
    );
  });
}

// Read and written in fours: one run, several, and a last one that reaches beyond the line.
for (const [k, stride, padding, width] of [
  [1, 1, 'zero', 12],
  [3, 1, 'zero', 12],
  [3, 1, 'zero', 44],
  [3, 1, 'replicate', 40],
  [3, 1, 'replicate', 44],
  [3, 2, 'zero', 24],
  [3, 2, 'replicate', 48],
  [5, 1, 'replicate', 16],
] as const) {
  test(`a width that is a multiple of four: ${width}, ${k}³, stride ${stride}, ${padding} padding`, async () => {
    const xs = [uniform([2, 3, 3, 4, width], 1), uniform([5, 3, k, k, k], 2), uniform([5], 3)];
    const attrs = { stride, padding };
    const expected = reference.conv3d.forward(xs, attrs),
      dy = uniform(expected.shape, 4);
    const gradients = reference.conv3d.vjp(xs, attrs, dy);
    // As for a GPU and as for a CPU, whatever is there; that planned and measured memory agree is checked on the way.
    for (const processor of ['gpu', 'cpu'] as const) {
      const { y, grads } = await evaluate(([x, w, b]) => conv3d(x, w, b, attrs), xs, dy, undefined, processor);
      assert.ok(relativeError(y, expected.data) < 1e-5, `${processor}: relative error ${relativeError(y, expected.data)}`);
      gradients.forEach((g, i) => assert.ok(relativeError(grads[i]!, g!.data) < 1e-5, `${processor}: gradient ${i}`));
    }
  });
}

test('the gradient of the bias alone, and of each of the others alone', async () => {
  const xs = [uniform([2, 3, 3, 4, 5], 1), uniform([4, 3, 3, 3, 3], 2), uniform([4], 3)];
  const dy = uniform([2, 4, 3, 4, 5], 4);
  const expected = reference.conv3d.vjp(xs, {}, dy);
  for (const only of [0, 1, 2]) {
    const { grads } = await evaluate(
      ([x, w, b]) => conv3d(x, w, b),
      xs,
      dy,
      xs.map((_, i) => i === only),
    );
    assert.ok(relativeError(grads[only]!, expected[only]!.data) < 1e-5, `input ${only}`);
  }
});

// Several passes over x, and several x, where lines are read and written in fours.
for (const [k, widths] of [
  [3, [37]],
  [3, [5, 18, 1]],
  [5, [9]],
] as const)
  test(`several passes of fours: ${k}³, ${widths} channels`, async () => {
    const xs = widths.map((channels, i) => uniform([1, channels, 3, 2, 8], 10 + i));
    const inputs = [uniform([6, widths.reduce((a, b) => a + b, 0), k, k, k], 1), uniform([6], 2), ...xs];
    const dy = uniform([1, 6, 3, 2, 8], 3);
    const joined = ndarray([1, inputs[0].shape[1], 3, 2, 8], Float64Array.from(xs.flatMap(({ data }) => [...data])));
    const expected = reference.conv3d.forward([joined, inputs[0], inputs[1]], {});
    const [dx, dw, db] = reference.conv3d.vjp([joined, inputs[0], inputs[1]], {}, dy);
    for (const processor of ['gpu', 'cpu'] as const) {
      const { y, grads } = await evaluate(([w, b, ...parts]) => conv3d(parts, w, b), inputs, dy, undefined, processor);
      const close = (found: ArrayLike<number>, { data }: NdArray, what: string) =>
        assert.ok(relativeError(found, data) < 1e-5, `${processor}: ${what}: ${relativeError(found, data)}`);
      close(y, expected, 'value');
      close(grads[0]!, dw!, 'gradient of w');
      close(grads[1]!, db!, 'gradient of the bias');
      const all = grads.slice(2).flatMap((g) => [...g!]);
      close(all, dx!, 'gradient of x');
    }
  });

/** ⟨conv(x, w), y⟩ = ⟨x, dx⟩ = ⟨w, dw⟩ (linear in x and in w), with y leaning to the result, so that there are digits to compare. */
for (const k of [1, 3, 5])
  for (const stride of [1, 2] as const)
    for (const padding of ['zero', 'replicate'] as const) {
      test(`adjoint: ${k}³, stride ${stride}, ${padding} padding`, async () => {
        const x = uniform([1, 5, 19, 23, 21], 10),
          w = uniform([6, 5, k, k, k], 11);
        const f = ([x, w]: Tensor[]) => conv3d(x, w, undefined, { stride, padding });
        const { y: ax } = await evaluate(f, [x, w]);
        const half = (n: number) => Math.ceil(n / stride);
        const y = map(uniform([1, 6, half(19), half(23), half(21)], 12), (value, i) => Math.fround(value + ax[i]));
        const {
          grads: [dx, dw],
        } = await evaluate(f, [x, w], y);
        const expected = dot(ax, y.data),
          scale = norm(ax) * norm(y.data);
        for (const found of [dot(x.data, dx!), dot(w.data, dw!)])
          assert.ok(Math.abs(found - expected) < 1e-7 * scale, `${found} for ${expected}`);
      });
    }

test('the weight gradient is the same to the bit in every run', async () => {
  const xs = [uniform([2, 5, 11, 13, 9], 20), uniform([6, 5, 3, 3, 3], 21), zeros([6])];
  const run = async () => (await evaluate(([x, w, b]) => conv3d(x, w, b), xs, uniform([2, 6, 11, 13, 9], 22))).grads;
  assert.equal(await run(), await run());
});

test('shapes and options that do not fit are refused', () => {
  const refused = (x: number[], w: number[], b: number[] | undefined, options: object, message: RegExp) => {
    const graph = new Graph();
    const [tx, tw, tb] = [graph.input('x', x), graph.input('w', w), b && graph.input('b', b)];
    assert.throws(() => graph.phase('all', () => conv3d(tx, tw, tb, options)), message);
  };
  const x = [1, 16, 32, 32, 32],
    w = [8, 16, 3, 3, 3];
  refused(x, [16, 8, 3, 3, 3], undefined, {}, /^conv3d: w expects Ci=8, got x \[1,16,32,32,32\], w \[16,8,3,3,3\]$/);
  refused([16, 32, 32, 32], w, undefined, {}, /conv3d: x must be \[N, C, D, H, W\], got \[16,32,32,32\]/);
  refused(x, [8, 16, 3, 3, 1], undefined, {}, /conv3d: w must be .*, got \[8,16,3,3,1\]/);
  refused(x, [8, 16, 7, 7, 7], undefined, {}, /K = 1, 3 or 5, got \[8,16,7,7,7\]/);
  refused(x, w, [16], {}, /conv3d: bias must be \[8\], got \[16\], w \[8,16,3,3,3\]/);
  const graph = new Graph();
  const several = [x, [1, 4, 32, 32, 30]].map((shape) => graph.input('x', shape));
  assert.throws(
    () => graph.phase('all', () => conv3d(several, graph.input('w', w))),
    /^conv3d: all sizes but the channels must agree, got x \[1,16,32,32,32\] and \[1,4,32,32,30\], w \[8,16,3,3,3\]$/,
  );
  refused(x, w, [8], { strides: 2 }, /conv3d: unknown option strides/);
  for (const [key, value] of [
    ['stride', 3],
    ['padding', 'reflect'],
    ['activation', 'relu'],
    ['slope', -1],
    ['stride', undefined],
  ] as const) {
    refused(x, w, [8], { [key]: value }, new RegExp(`conv3d: ${key} = ${value} is not offered`));
  }
});

test.run();
