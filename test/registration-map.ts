// A registration as a fixed point, for gradients through it: f(z) = 0.9 · G(z + gain · w ⊙ step(z)), G a Gaussian of 1 voxel, step the
// cells' similarity step on a pair of small smooth images, w a field. With a gain below 0.34 it contracts.
import {
  add,
  centre,
  gaussian,
  type Graph,
  identity,
  localStatistics,
  mse,
  mul,
  scale,
  type SimilarityJacobian,
  similarityStep,
  type Tensor,
  withGradient,
} from '../src/index.ts';

const [D, H, W] = [12, 11, 13];
const image = [1, 1, D, H, W];
const shape = [1, 3, D, H, W];
const [WINDOW, SIGMA, SHRINK] = [5, 1, 0.9];

/** Functions of the voxel (w, h, d), one a channel, on the grid. */
const sample = (...channels: ((w: number, h: number, d: number) => number)[]) =>
  Float32Array.from({ length: channels.length * D * H * W }, (_, i) =>
    channels[Math.floor(i / (D * H * W))](i % W, Math.floor(i / W) % H, Math.floor(i / (W * H)) % D),
  );
const pattern = (w: number, h: number, d: number) =>
  0.5 + 0.15 * (Math.sin(0.8 * w + 0.3 * h) + Math.cos(0.7 * h - 0.4 * d + 1) + Math.sin(0.6 * d + 0.5 * w + 2));
/** What there is to find, in voxels: by its opposite the moving image is moved. */
const along = {
  w: (w: number, _: number, d: number) => 0.7 * Math.cos(0.25 * w + 0.2 * d),
  h: (w: number, h: number) => 0.6 * Math.sin(0.3 * h + 0.1 * w),
  d: (_: number, h: number, d: number) => -0.5 * Math.cos(0.2 * d - 0.2 * h),
};

const fixed = sample(pattern);
const moving = sample((w, h, d) => pattern(w - along.w(w, h, d), h - along.h(w, h), d - along.d(w, h, d)) ** 1.5);
const goal = sample(along.w, along.h, along.d);
/** Values of w: 0.7 … 1.3. */
export const factors = sample(
  ...[0, 1, 2].map((c) => (w: number, h: number, d: number) => 1 + 0.3 * Math.sin(w + c) * Math.cos(h + 2 * d)),
);

/**
 * Declares everything on a graph, with a phase `images` that runs once before the node. The loss is the mean squared distance from the
 * goal.
 */
export function traceRegistrationMap(graph: Graph, similarity: SimilarityJacobian) {
  const [gain, w] = [graph.input('gain', [1]), graph.input('w', shape)];
  const inputs = { fixed: graph.input('fixed', image), moving: graph.input('moving', image), goal: graph.input('goal', shape) };
  const images = graph.phase('images', () => ({
    fixed: localStatistics(inputs.fixed, WINDOW),
    moving: withGradient(centre(inputs.moving)),
    matrix: identity,
    ratios: [1, 1, 1] as const,
  }));
  const move = (z: Tensor) => mul(gain, mul(w, similarityStep(images, z, similarity).step));
  return {
    gain,
    w,
    inputs: [
      [inputs.fixed, fixed],
      [inputs.moving, moving],
      [inputs.goal, goal],
    ] as [Tensor, Float32Array][],
    shape,
    cell: (z: Tensor) => scale(gaussian(add(z, move(z)), SIGMA), SHRINK),
    loss: (y: Tensor) => mse(y, inputs.goal),
  };
}
