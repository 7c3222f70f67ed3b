// Gradients through the similarity's force: the whole chain against the float64 reference, what is left out and what is refused; and the
// finite difference that stands in for them where the Jacobian is symmetric.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  add,
  centre,
  dot,
  gaussian,
  Graph,
  lnccForce,
  localStatistics,
  type Matrix,
  mul,
  scale,
  softNormalize,
  square,
  sub,
  symmetricJacobian,
  type Tensor,
  vjp,
  warpWithGradient,
  windowSum,
  withGradient,
} from '../src/index.ts';
import { grad } from '../src/ops/index.ts';
import { lnccDisplacementForce } from '../src/models/cell.ts';
import { evaluate } from './gpu.ts';
import { awayFromFaces } from './reference/cases.ts';
import { reference } from './reference/index.ts';
import { dot as inner, map, type NdArray, ndarray, norm, relativeError, uniform, zeros } from './reference/ndarray.ts';

const close = (actual: ArrayLike<number> | null, expected: ArrayLike<number>, tolerance = 1e-5) => {
  const error = relativeError(actual!, expected);
  assert.ok(error < tolerance, `relative error ${error}`);
};
const follows = (a: NdArray, seed: number) => map(uniform(a.shape, seed, 0, 0.4), (x, i) => Math.fround(x + 0.6 * a.data[i]));

const matrix: Matrix = [0.9, 0.1, -0.05, 0.3, -0.2, 1.1, 0.15, -0.4, 0.05, -0.1, 0.8, 0.7].map(Math.fround);
const attrs = { window: [3, 5, 3], epsilon: 1e-6 };

for (const [masked, processor] of [
  [false, 'cpu'],
  [true, 'cpu'],
  [false, 'gpu'],
  [true, 'gpu'],
] as const) {
  test(`update step from the force of LNCC, as on a ${processor}${masked ? ', masks on both images' : ''}: value and gradient for u`, async () => {
    const shape = [1, 1, 7, 6, 9];
    const moving = uniform([1, 1, 8, 7, 9], 1, 0, 1),
      u = awayFromFaces([1, 3, 7, 6, 9], 2, 0.6, { matrix: [...matrix] });
    const sampled = ndarray([1, 8, 7, 9, 4], (await evaluate(([x]) => withGradient(x), [moving])).y);
    const here = reference.warp.forward([moving, u], { matrix });
    const fixed = follows(here, 3);
    const masks = masked ? [uniform(shape, 4, 0, 1), uniform(moving.shape, 5, 0, 1)] : [];
    const v = uniform(u.shape, 6);
    const [sigma, limit, softness] = [[0.7, 0.5, 0.6], 0.5, 0.1] as const;

    const { y, grads } = await evaluate(
      ([fixed, moving, u, ...masks]) => {
        const images = { fixed: localStatistics(fixed, [3, 5, 3]), moving: withGradient(moving), matrix, ratios: [1, 1, 1] as const };
        const { force } = lnccDisplacementForce({ ...images, masks: { fixed: masks[0], moving: masks[1] } }, u);
        return softNormalize(gaussian(force, sigma), limit, softness);
      },
      [fixed, moving, u, ...masks],
      v,
      [false, false, true, ...masks.map(() => false)],
      processor,
    );

    // The same in float64, one op after the other, and back.
    const { slice, mul, warp, gaussian: smooth } = reference;
    const both = reference.warpWithGradient.forward([sampled, u], { matrix });
    const [b, gradient] = [slice.forward([both], { start: 0, count: 1 }), slice.forward([both], { start: 1, count: 3 })];
    const there = masked && warp.forward([masks[1], u], { matrix });
    const weight = there ? [mul.forward([masks[0], there], {})] : [];
    const inputs = [fixed, b, gradient, ...weight];
    const raw = reference.lnccForce.forward(inputs, attrs);
    const force = smooth.forward([raw], { sigma });
    const voxels = force.data.length / 3;
    const over = (i: number, f: (k: number) => number) => [0, 1, 2].reduce((sum, c) => sum + f(c * voxels + (i % voxels)), 0);
    const length = (i: number) => Math.sqrt(over(i, (k) => force.data[k] ** 2) + softness ** 2);
    close(
      y,
      force.data.map((x, i) => (limit * x) / length(i)),
    );
    const dforce = map(
      force,
      (x, i) => (limit * (v.data[i] - (x * over(i, (k) => force.data[k] * v.data[k])) / length(i) ** 2)) / length(i),
    );
    const [, db, dgradient, dweight] = reference.lnccForce.vjp(inputs, attrs, smooth.vjp([raw], { sigma }, dforce)[0]!);
    const cotangent = reference.concat.forward([db!, dgradient!], {});
    let expected = reference.warpWithGradient.vjp([sampled, u], { matrix }, cotangent)[1]!;
    if (there) {
      const byMask = warp.vjp([masks[1], u], { matrix }, mul.vjp([masks[0], there], {}, dweight!)[1]!)[1]!;
      expected = map(expected, (x, i) => x + byMask.data[i]);
    }
    close(grads[2]!, expected.data);
  });
}

for (const [label, window, middle, tolerance] of [
  ['longer than a run along all axes', 5, 0, 1e-5],
  ['window 9, raw intensities 1000 ± 1', 9, 1000, 2e-4],
] as const) {
  test(`lnccForce, gradients: ${label}`, async () => {
    const a = uniform([1, 1, 35, 34, 37], 10, 0, 1),
      b = follows(a, 11);
    const [rawA, rawB] = [a, b].map((x) => map(x, (value) => Math.fround(middle + value))) as [NdArray, NdArray];
    const gradient = uniform([1, 3, 35, 34, 37], 12),
      v = uniform(gradient.shape, 13);
    const expected = reference.lnccForce.vjp([rawA, rawB, gradient], { window, epsilon: 1e-6 }, v);
    for (const processor of ['cpu', 'gpu'] as const) {
      const { grads } = await evaluate(
        ([a, b, gradient]) => lnccForce(localStatistics(a, window), centre(b), gradient).force,
        [rawA, rawB, gradient],
        v,
        [false, true, true],
        processor,
      );
      close(grads[1]!, expected[1]!.data, tolerance);
      close(grads[2]!, expected[2]!.data, tolerance);
    }
  });
}

test('lnccForce: its similarity as a loss, alone and beside the force', async () => {
  const a = uniform([2, 1, 5, 6, 7], 20, 0, 1),
    b = follows(a, 21);
  const gradient = uniform([2, 3, 5, 6, 7], 22),
    v = uniform(gradient.shape, 23),
    setting = { window: 3, epsilon: 1e-6 };
  const loss = (share: number) => async () =>
    (
      await evaluate(
        ([a, b, gradient, v]) => {
          const { force, similarity } = lnccForce(localStatistics(a, 3), centre(b), gradient);
          return share ? add(scale(similarity, 300), scale(dot(force, v), share)) : similarity;
        },
        [a, b, gradient, v],
        ndarray([1], [1]),
        [false, true, false, false],
      )
    ).grads[1]!;
  const ofSimilarity = reference.lncc.vjp([a, b], setting, ndarray([1], [1]))[1]!;
  const ofForce = reference.lnccForce.vjp([a, b, gradient], setting, v)[1]!;
  close(await loss(0)(), ofSimilarity.data);
  close(
    await loss(0.5)(),
    ofSimilarity.data.map((x, i) => 300 * x + 0.5 * ofForce.data[i]),
  );
});

for (const part of ['warped', 'gradient'] as const) {
  test(`warpWithGradient: a cotangent for ${part} alone`, async () => {
    const image = uniform([2, 4, 5, 3, 4], 30),
      u = awayFromFaces([2, 3, 3, 4, 5], 31, 2, { matrix: [...matrix] });
    const v = uniform([2, part === 'warped' ? 1 : 3, 3, 4, 5], 32);
    const { grads } = await evaluate(([image, u]) => warpWithGradient(image, u, matrix)[part], [image, u], v, [false, true]);
    const none = zeros([2, part === 'warped' ? 3 : 1, 3, 4, 5]);
    const cotangent = reference.concat.forward(part === 'warped' ? [v, none] : [none, v], {});
    close(grads[1]!, reference.warpWithGradient.vjp([image, u], { matrix }, cotangent)[1]!.data);
  });
}

test('adjoint: the force is linear in the image gradient', async () => {
  const a = uniform([1, 1, 13, 17, 15], 40, 0, 1),
    gradient = uniform([1, 3, 13, 17, 15], 42);
  const f = ([a, b, gradient]: Tensor[]) => lnccForce(localStatistics(a, 5), centre(b), gradient).force;
  const inputs = [a, follows(a, 41), gradient];
  const { y } = await evaluate(f, inputs);
  const v = map(uniform(gradient.shape, 43), (x, i) => Math.fround(x + y[i]));
  const { grads } = await evaluate(f, inputs, v, [false, false, true]);
  const gap = Math.abs(inner(y, v.data) - inner(gradient.data, grads[2]!)) / (norm(y) * norm(v.data));
  assert.ok(gap < 3e-8, `${gap}`);
});

test('a gradient that is not offered is refused, by name', () => {
  const graph = new Graph();
  const [fixed, image, mask] = ['fixed', 'moving', 'mask'].map((name) => graph.input(name, [1, 1, 5, 6, 7])) as [Tensor, Tensor, Tensor];
  const u = graph.input('u', [1, 3, 5, 6, 7]);
  graph.phase('all', () => {
    const moving = withGradient(image);
    const { warped, gradient } = warpWithGradient(moving, u);
    const statistics = localStatistics(fixed, 3);
    const { force } = lnccForce(statistics, warped, gradient);
    const { similarity } = lnccForce(statistics, warped, gradient, mask);
    assert.throws(() => vjp([force], [u], [fixed]), /lnccForce: the fixed image has no gradient/);
    assert.throws(() => vjp([force], [u], [moving]), /warpWithGradient: the image has no gradient/);
    assert.throws(() => vjp([force], [u], [image]), /warpWithGradient: the image has no gradient/);
    assert.throws(() => grad(similarity, [u]), /lnccForce: the similarity has no gradient where a mask weighs it/);
    const product = (at: Tensor) => mul(at, mask);
    assert.throws(
      () => vjp([symmetricJacobian(product, u, product(u))], [u], [mask]),
      /symmetricJacobian: the value also depends on mask, for which it has no gradient/,
    );
    assert.throws(
      () => vjp([symmetricJacobian(product, u, product(u))], [u], [u, mask]),
      /symmetricJacobian: the value also depends on mask/,
    );
    assert.throws(() => symmetricJacobian(product, u, warped), /needs one shape, got u \[1,3,5,6,7\] and value \[1,1,5,6,7\]/);
    assert.throws(() => symmetricJacobian(product, u, product(u), 0), /step must be above 0, got 0/);
  });
});

// A smooth phantom of 20³ voxels: blobs, and the same blobs elsewhere.
const size = [20, 20, 20];
const voxel = (i: number) => [i % 20, Math.floor(i / 20) % 20, Math.floor(i / 400) % 20] as const;
function blobs(shift: number): NdArray {
  const centres = [
    [6, 7, 8, 3],
    [13, 12, 6, 4],
    [9, 14, 13, 3.5],
    [15, 5, 14, 3],
  ] as const;
  return map(zeros([1, 1, ...size]), (_, i) => {
    const p = voxel(i);
    return Math.fround(
      centres.reduce((sum, [w, h, d, r]) => {
        const distance = (p[0] - w - shift) ** 2 + (p[1] - h + shift) ** 2 + (p[2] - d - 0.5 * shift) ** 2;
        return sum + 0.5 * Math.exp(-distance / (2 * r * r));
      }, 0),
    );
  });
}
const phantom = [blobs(0), blobs(1)];
const smoothField = async (seed: number, reach: number) => {
  const { y } = await evaluate(([x]) => gaussian(x, 2), [uniform([1, 3, ...size], seed)]);
  const largest = y.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  return ndarray(
    [1, 3, ...size],
    y.map((x) => Math.fround((reach * x) / largest)),
  );
};

type Force = (images: Tensor[], u: Tensor) => Tensor;
const mseForce: Force = ([fixed, moving], u) => {
  const { warped, gradient } = warpWithGradient(withGradient(moving), u);
  return mul(sub(warped, fixed), gradient);
};
/** The gradient of Σ(Wu)³/3, W the window sum. */
const cubicForce: Force = (_, u) => windowSum(square(windowSum(u, 3)), 3);
const forceOfLncc: Force = ([fixed, moving], u) => {
  const { warped, gradient } = warpWithGradient(withGradient(moving), u);
  return lnccForce(localStatistics(fixed, 5), warped, gradient).force;
};

/** Jᵀv at u, exactly and by the finite difference; and the two values. */
async function bothWays(force: Force, u: NdArray, v: NdArray, { images = phantom, step = 0.02 } = {}) {
  const run = (f: Force) => evaluate(([fixed, moving, u]) => f([fixed, moving], u), [...images, u], v, [false, false, true]);
  const exact = await run(force);
  const difference = await run((images, u) => symmetricJacobian((at) => force(images, at), u, force(images, u), step));
  assert.equal(difference.y, exact.y, 'the value is f(u) itself');
  return { exact: exact.grads[2]!, difference: difference.grads[2]! };
}
const cosine = (x: Float32Array, y: Float32Array) => inner(x, y) / (norm(x) * norm(y));

test('symmetricJacobian: a true gradient; the error falls with the step', async () => {
  for (const step of [0.02, 0.002]) {
    const { exact, difference } = await bothWays(cubicForce, uniform([1, 3, ...size], 50), uniform([1, 3, ...size], 51), { step });
    close(difference, exact, 3 * step);
  }
});

test('symmetricJacobian: the force of the mean squared error, which is nearly a gradient', async () => {
  // It is one but for the slopes, interpolated differences, where the derivative of the interpolation would be; and but for the border.
  const ramp = ([w, h, d]: readonly number[]) => 0.1 * w + 0.2 * h - 0.1 * d;
  const images = [0, 1].map((shift) => map(blobs(shift), (x, i) => Math.fround(x + ramp(voxel(i)))));
  const v = map(await smoothField(53, 1), (x, i) => (voxel(i).every((k) => k > 2 && k < 17) ? x : 0));
  const { exact, difference } = await bothWays(mseForce, await smoothField(52, 1), v, { images });
  close(difference, exact, 0.05);
});

test('symmetricJacobian: the force of LNCC, whose Jacobian is symmetric only approximately', async () => {
  for (const v of [await smoothField(53, 1), uniform([1, 3, ...size], 54)]) {
    const { exact, difference } = await bothWays(forceOfLncc, await smoothField(52, 1), v);
    const found = cosine(exact, difference);
    console.log(`symmetricJacobian, LNCC: cosine with the exact pullback ${found.toFixed(3)}`);
    assert.ok(found > 0.8);
  }
});

test('symmetricJacobian: no cotangent gives 0, a small one the same direction', async () => {
  const u = await smoothField(55, 1),
    v = await smoothField(56, 1);
  const pull = async (factor: number) =>
    (
      await bothWays(
        mseForce,
        u,
        map(v, (x) => Math.fround(factor * x)),
      )
    ).difference;
  assert.ok((await pull(0)).every((x) => x === 0));
  const unit = await pull(1);
  close(
    (await pull(2 ** -30)).map((x) => x * 2 ** 30),
    unit,
    1e-5,
  );
});

test.run();
