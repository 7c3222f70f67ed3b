// Linear ops on a volume of odd sizes: ⟨Ax, y⟩ = ⟨x, Aᵀy⟩. The scatter of warp's image gradient where everything piles up. And the ops
// that only solvers use against float64 formulas.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  centre,
  compose,
  concat,
  diffusion,
  dot,
  fill,
  gaussian,
  grad,
  gradient,
  lnccForce,
  localStatistics,
  mean,
  ncc,
  resample,
  resize,
  slice,
  softNormalize,
  square,
  sub,
  sum,
  sumChannels,
  type Tensor,
  vjp,
  warp,
  warpWithGradient,
  windowSum,
  withGradient,
} from '../src/index.ts';
import { evaluate } from './gpu.ts';
import { windowMean } from './reference/filters.ts';
import { reference } from './reference/index.ts';
import { dot as dotOf, map, type NdArray, ndarray, norm, relativeError, sizeOf, uniform } from './reference/ndarray.ts';
import { samplePosition } from './reference/warp.ts';

const size = [33, 29, 37];
const field = (channels: number, seed: number, reach = 1, shape = size) => uniform([1, channels, ...shape], seed, -reach, reach);
/** Rotates, scales and shifts, so that samples fall everywhere in and around the image. */
const matrix = [0.9, 0.3, -0.1, -2, -0.2, 1.1, 0.2, 1.5, 0.1, -0.3, 0.8, 3];

/** x ↦ f(x, others) is linear. */
const linear: [string, (xs: Tensor[]) => Tensor, NdArray, NdArray[]?][] = [
  ['warp, in the image', ([x, u]) => warp(x, u), field(2, 1), [field(3, 2, 6)]],
  ['warp through an affine, to another grid', ([x, u]) => warp(x, u, matrix), field(1, 3, 1, [31, 25, 35]), [field(3, 4, 3)]],
  ['compose, in the displacement that is sampled', ([u, v]) => sub(compose(u, v), v), field(3, 5), [field(3, 6, 4)]],
  ['resize up', ([x]) => resize(x, [50, 47, 61]), field(2, 7)],
  ['resize down', ([x]) => resize(x, [13, 20, 9]), field(2, 8)],
  ['resize both ways', ([x]) => resize(x, [65, 29, 12]), field(1, 9)],
  ['gaussian', ([x]) => gaussian(x, [1.3, 0, 4]), field(2, 10)],
  ['gaussian, four at a time', ([x]) => gaussian(x, 0.8), field(1, 11, 1, [33, 29, 36])],
  ['windowSum', ([x]) => windowSum(x, [13, 5, 41]), field(2, 12)],
  ['gradient', ([x]) => gradient(x), field(2, 13)],
  [
    'concat and slice',
    ([x, y]) => slice(concat(y, x, y), 1, 3),
    field(2, 14),
    [ndarray([1, 2, ...size], new Float64Array(2 * sizeOf(size)))],
  ],
  ['sumChannels', ([x]) => sumChannels(x), field(3, 15)],
];

/**
 * ⟨Ax, y⟩ against ⟨x, Aᵀy⟩, relative to the norms. y is not orthogonal to Ax, as random vectors are, so that there are digits to compare.
 */
function gap(ax: Float32Array, y: NdArray, x: NdArray, aty: Float32Array): number {
  return Math.abs(dotOf(ax, y.data) - dotOf(x.data, aty)) / (norm(ax) * norm(y.data));
}
const leaning = (shape: readonly number[], ax: Float32Array) => map(uniform([...shape], 99), (value, i) => Math.fround(value + ax[i]));

for (const [name, f, x, others = []] of linear) {
  test(`adjoint: ${name}`, async () => {
    let shape: readonly number[] = [];
    const { y: ax } = await evaluate(
      (xs) => {
        const y = f(xs);
        shape = y.shape;
        return y;
      },
      [x, ...others],
    );
    const y = leaning(shape, ax);
    const { grads } = await evaluate(f, [x, ...others], y, [true, ...others.map(() => false)]);
    const error = gap(ax, y, x, grads[0]!);
    assert.ok(error < 3e-8, `relative error ${error}`);
  });
}

test('adjoint: the derivative of diffusion is symmetric', async () => {
  const f = ([u]: Tensor[]) => vjp([diffusion(u, [1, 0.5, 2])], [fill(u.graph, [1], 1e5)], [u])[0];
  const x = field(3, 16),
    { y: ax } = await evaluate(f, [x]);
  const y = leaning(x.shape, ax),
    { y: ay } = await evaluate(f, [y]);
  assert.ok(gap(ax, y, x, ay) < 3e-8, `${gap(ax, y, x, ay)}`);
});

test('warp in the image: 347 261 samples pile up on one corner, exactly and in any order', async () => {
  const shape = [1, 1, 73, 67, 71];
  const image = uniform(shape, 20),
    u = map(field(3, 21, 1, shape.slice(2)), () => -200);
  for (const [low, high] of [
    [1, 1],
    [0.5, 1],
    [-1, -0.5],
    [-1, 1],
  ] as const) {
    const dy = uniform(shape, 22, low, high);
    const run = async () => (await evaluate(([x, u]) => warp(x, u), [image, u], dy, [true, false])).grads[0]!;
    const dx = await run(),
      total = dy.data.reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(dx[0] - total) < 1e-6 * norm(dy.data) + 1e-6 * Math.abs(total), `${dx[0]} for ${total}`);
    assert.ok(dx.subarray(1).every((value) => value === 0));
    assert.equal(await run(), dx);
  }
});

test('warp in the image resolves 2^-30 of the largest cotangent, of either sign', async () => {
  const dy = map(field(1, 23, 1e-6), (value, i) => (i === 1000 ? 1 : value));
  const { grads } = await evaluate(([x, u]) => warp(x, u), [field(1, 24), field(3, 25, 0)], dy, [true, false]);
  grads[0]!.forEach((value, i) => assert.ok(Math.abs(value - dy.data[i]) <= 2 ** -30, `${value} for ${dy.data[i]}`));
});

test('warp in the image is the same to the bit in every run', async () => {
  const run = async () => (await evaluate(([x, u]) => warp(x, u), [field(1, 30), field(3, 31, 9)], field(1, 32), [true, false])).grads[0]!;
  assert.equal(await run(), await run());
});

const shape = [2, 3, 5, 7, 9];
const close = (actual: ArrayLike<number> | null, expected: ArrayLike<number>, tolerance = 1e-6) => {
  const error = relativeError(actual!, expected);
  assert.ok(error < tolerance, `relative error ${error}`);
};

test('softNormalize and its gradient, on a grid of unequal spacings', async () => {
  const x = uniform(shape, 40),
    dy = uniform(shape, 41),
    limit = 0.4,
    epsilon = 0.3,
    ratios = [1, 0.5, 0.25] as const;
  const { y, grads } = await evaluate(([x]) => softNormalize(x, limit, epsilon, ratios), [x], dy);
  const voxels = 5 * 7 * 9;
  const ratio = (i: number) => ratios[Math.floor(i / voxels) % 3];
  const overChannels = (i: number, f: (k: number) => number) =>
    [0, 1, 2].reduce((sum, c) => sum + f(Math.floor(i / (3 * voxels)) * 3 * voxels + c * voxels + (i % voxels)), 0);
  const q = (i: number) => overChannels(i, (k) => (ratio(k) * x.data[k]) ** 2) + epsilon ** 2;
  close(
    y,
    x.data.map((value, i) => (limit * ratio(i) ** 2 * value) / Math.sqrt(q(i))),
  );
  // y_c = limit · r_c² x_c / √q: ∂y_c/∂x_j = limit · (r_c² δ_cj − r_c² x_c · r_j² x_j / q) / √q
  const along = (i: number) => overChannels(i, (k) => ratio(k) ** 2 * x.data[k] * dy.data[k]);
  close(
    grads[0]!,
    x.data.map((value, i) => (limit * ratio(i) ** 2 * (dy.data[i] - (value * along(i)) / q(i))) / Math.sqrt(q(i))),
  );
});

test('compose and its gradients: v + u at p + v', async () => {
  const u = uniform(shape, 42, -2, 2),
    v = uniform(shape, 43, -3, 3),
    dy = uniform(shape, 44);
  const { y, grads } = await evaluate(([u, v]) => compose(u, v), [u, v], dy);
  const { warp } = reference;
  close(
    y,
    warp.forward([u, v], {}).data.map((value, i) => value + v.data[i]),
  );
  const [du, dv] = warp.vjp([u, v], {}, dy);
  close(grads[0]!, du!.data);
  close(
    grads[1]!,
    dv!.data.map((value, i) => value + dy.data[i]),
  );
});

/** Differences of fourth order along an axis (0 = w) of [N, 1, D, H, W], indices clamped. */
function slope({ shape, data }: NdArray, axis: number): NdArray {
  const n = shape[4 - axis],
    step = sizeOf(shape.slice(5 - axis));
  return ndarray(
    shape,
    data.map((_, p) => {
      const i = Math.floor(p / step) % n;
      const at = (offset: number) => data[p + step * (Math.min(n - 1, Math.max(0, i + offset)) - i)];
      return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / 12;
    }),
  );
}

test('warpWithGradient samples an image and its fourth-order differences at M·(p + u(p)), and turns them by Mᵀ', async () => {
  const image = uniform([2, 1, 9, 7, 11], 45),
    u = uniform([2, 3, 6, 8, 7], 46, -3, 3),
    voxels = 6 * 8 * 7;
  const sample = (x: NdArray) => reference.warp.forward([x, u], { matrix }).data;
  const part = async (name: 'warped' | 'gradient') =>
    (await evaluate(([x, u]) => warpWithGradient(withGradient(x), u, matrix)[name], [image, u])).y;
  close(await part('warped'), sample(image));
  // Beyond the image, where the clamped value is constant, the slope along that axis fades to 0 within a voxel.
  const fade = (axis: number, p: number) => {
    const x = samplePosition(u, Math.floor(p / voxels), p % voxels, { matrix })[axis],
      last = image.shape[4 - axis] - 1;
    return Math.max(0, 1 - Math.abs(x - Math.min(Math.max(x, 0), last)));
  };
  const slopes = [0, 1, 2].map((axis) => sample(slope(image, axis)).map((v, p) => v * fade(axis, p)));
  close(
    await part('gradient'),
    Float64Array.from({ length: 2 * 3 * voxels }, (_, i) => {
      const [n, channel] = [Math.floor(i / (3 * voxels)), Math.floor(i / voxels) % 3];
      return slopes.reduce((sum, along, row) => sum + matrix[4 * row + channel] * along[n * voxels + (i % voxels)], 0);
    }),
  );
});

test('second derivatives through slice, pad, mean and what it spreads', async () => {
  const x = uniform([1, 4, 3, 4, 5], 60),
    v = uniform([1, 4, 3, 4, 5], 61);
  const curvature = async (f: (x: Tensor) => Tensor) => (await evaluate(([x, v]) => grad(dot(grad(f(x), [x])[0], v), [x])[0], [x, v])).y;
  const channel = (i: number) => Math.floor(i / 60);
  close(
    await curvature((x) => sum(square(slice(x, 1, 2)))),
    v.data.map((value, i) => (channel(i) === 1 || channel(i) === 2 ? 2 * value : 0)),
  );
  // f = m², m = Σx²/n: f″v = 4/n (m·v + 2/n ⟨x, v⟩ x)
  const n = x.data.length,
    m = dotOf(x.data, x.data) / n;
  close(
    await curvature((x) => square(mean(square(x)))),
    v.data.map((value, i) => (4 / n) * (m * value + (2 / n) * dotOf(x.data, v.data) * x.data[i])),
  );
});

test('ncc under a weight: means, variances and covariance of what counts', async () => {
  const [a, b, w] = [62, 63, 64].map((seed) => uniform([1, 1, 5, 6, 7], seed, 0, 1)) as [NdArray, NdArray, NdArray];
  const { y } = await evaluate(([a, b, w]) => ncc(a, b, 1e-6, w), [a, b, w]);
  const total = w.data.reduce((s, x) => s + x);
  const average = (f: (i: number) => number) => w.data.reduce((s, x, i) => s + x * f(i), 0) / total;
  const [ma, mb] = [a, b].map((x) => average((i) => x.data[i])) as [number, number];
  const [da, db] = [(i: number) => a.data[i] - ma, (i: number) => b.data[i] - mb];
  const [va, vb, covariance] = [average((i) => da(i) ** 2), average((i) => db(i) ** 2), average((i) => da(i) * db(i))];
  assert.ok(Math.abs(y[0] - covariance / Math.sqrt(va * vb + 1e-6)) < 1e-5, `${y}`);
});

test('resample is warp without a displacement', async () => {
  const image = uniform([1, 2, 9, 7, 11], 47);
  const { y } = await evaluate(([x]) => resample(x, [5, 6, 7], matrix), [image]);
  close(y, reference.warp.forward([image, ndarray([1, 3, 5, 6, 7], new Float64Array(630))], { matrix }).data);
});

for (const [label, middle, reach] of [
  ['images in 0…1', 0.5, 0.5],
  ['raw intensities, 1000 ± 1', 1000, 1],
] as const) {
  test(`lnccForce, window 9: ${label}`, async () => {
    const [a, b] = [50, 51].map((seed) => uniform([1, 1, 13, 17, 15], seed, middle - reach, middle + reach)) as [NdArray, NdArray];
    const gradient = uniform([1, 3, 13, 17, 15], 52),
      epsilon = 1e-6;
    const local = (x: NdArray, y?: NdArray) => windowMean(9).apply(map(x, (value, i) => value * (y ? y.data[i] : 1))).data;
    const [p, q] = [a, b].map((x) => map(x, (value) => value - middle)) as [NdArray, NdArray];
    const [ma, mb] = [local(p), local(q)],
      va = local(p, p).map((x, i) => x - ma[i] ** 2),
      vb = local(q, q).map((x, i) => x - mb[i] ** 2);
    const c = local(p, q).map((x, i) => x - ma[i] * mb[i]),
      d = va.map((x, i) => x * vb[i] + epsilon);
    const g = c.map((x, i) => ((2 * x) / d[i]) * (p.data[i] - ma[i] - (x / (vb[i] + 1e-8)) * (q.data[i] - mb[i])));
    const part = async (name: 'force' | 'similarity', weight: NdArray[] = []) =>
      (
        await evaluate(
          ([a, b, gradient, weight]) => lnccForce(localStatistics(a, 9), centre(b), gradient, weight)[name],
          [a, b, gradient, ...weight],
        )
      ).y;
    close(
      await part('force'),
      gradient.data.map((x, i) => x * g[i % g.length]),
      3e-5,
    ); // c, of independent images, is nearly 0
    close(await part('similarity'), reference.lncc.forward([a, b], { window: 9, epsilon }).data, 1e-5);
    const weight = uniform(a.shape, 53, 0, 1),
      s = c.map((x, i) => (x * x) / d[i]);
    close(
      await part('force', [weight]),
      gradient.data.map((x, i) => x * weight.data[i % g.length] * g[i % g.length]),
      3e-5,
    );
    close(await part('similarity', [weight]), [dotOf(s, weight.data) / weight.data.reduce((x, y) => x + y)], 1e-5);
  });
}

test.run();
