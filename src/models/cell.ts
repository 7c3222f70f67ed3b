// What an update cell is: weights, declared once on a graph, and the map u ↦ f(u) that they make of a level's images.
import type { Mapped } from '../deq/solver.ts';
import type { DType, Tensor } from '../graph/graph.ts';
import { conv3d, type ConvOptions } from '../ops/conv3d.ts';
import {
  cast,
  detach,
  gaussian,
  lnccForce,
  type Matrix,
  mul,
  softNormalize,
  type Statistics,
  symmetricJacobian,
  warp,
  warpWithGradient,
} from '../ops/index.ts';
import { type Initialiser, kaimingUniform, type Parameters, zeros } from './parameters.ts';

/**
 * The force, smoothed by a Gaussian of this σ, enters as a step of at most this length, in voxels; forces (LNCC per voxel) well below the
 * softness move in proportion.
 */
const FORCE = { limit: 1, softness: 0.3, smoothing: 0.8 };

/** σ in voxels of one diffusion step λ·Δu: the semi-implicit step (I − λΔ)⁻¹ to first order. */
export const diffusionSigma = (lambda: number): number => Math.sqrt(2 * lambda);

/** A σ in voxels of the finest axis as σ along each axis. */
export const sigmas = ({ ratios }: LevelImages, sigma: number) => ratios.map((r) => r * sigma) as [number, number, number];

/** What a cell needs of a level. */
export interface LevelImages {
  /** Statistics of the fixed image. */
  fixed: Statistics;
  /** The moving image, `withGradient`, on a grid of its own. */
  moving: Tensor;
  /** Maps voxels of the fixed grid to voxels of the moving one. */
  matrix: Matrix;
  /** Finest spacing / spacing of the fixed grid along (w, h, d), at most 1: smoothing and steps are the same in mm along all axes. */
  ratios: readonly [number, number, number];
  /** Diffusion regularisation a step, in voxel² of the finest axis, of cells that have it. Default: the cell's own. */
  lambda?: number;
  /** Masks (0…1) on the fixed and on the moving grid: where the similarity counts. Everywhere, if left out. */
  masks?: { fixed?: Tensor; moving?: Tensor };
}

/** A learned update. `update` may be traced for as many levels as wanted; all share the weights. */
export interface Cell {
  parameters: Parameters;
  /** u ↦ f(u), u [N, 3, D, H, W] in voxels of the level's grid. */
  update(images: LevelImages): (u: Tensor) => Tensor;
  /** The same with its monitor, the mean LNCC of fixed and warped at u, for solvers that report one. */
  monitored(images: LevelImages): (u: Tensor) => Mapped;
}

/** A cell from its weights and its map. */
export const cellOf = (parameters: Parameters, monitored: Cell['monitored']): Cell => ({
  parameters,
  monitored,
  update: (images) => (u) => monitored(images)(u).next,
});

/**
 * How the similarity's force enters the Jacobian of a cell: `exact`, with second derivatives of the similarity; `detached`, as a constant,
 * which is cheap and right for `jfb` at its order, but biases `implicit`; or `finite-difference`.
 */
export const similarityJacobians = ['exact', 'detached', 'finite-difference'] as const;
export type SimilarityJacobian = (typeof similarityJacobians)[number];

export interface CellOptions {
  /** Width of the network at full resolution. */
  channels: number;
  similarity: SimilarityJacobian;
  /** How the network's activations are stored; weights and the displacement stay f32. Default f32. */
  dtype?: DType;
}

/**
 * The similarity's force on the displacement, ∂LNCC/∂warped · (∇moving)(M·(p + u(p))), [N, 3, D, H, W], the warped image, the mean LNCC.
 */
export function lnccDisplacementForce(
  { fixed, moving, matrix, masks }: LevelImages,
  u: Tensor,
): { force: Tensor; warped: Tensor; similarity: Tensor } {
  const { warped, gradient } = warpWithGradient(moving, u, matrix);
  const there = masks?.moving && warp(masks.moving, u, matrix);
  const weight = masks?.fixed && there ? mul(masks.fixed, there) : (masks?.fixed ?? there);
  return { ...lnccForce(fixed, warped, gradient, weight), warped };
}

/**
 * What a network sees of the similarity: the force, smoothed, as a step of at most one voxel, so that its size is the same on every volume
 * and level, the warped image, and the mean LNCC. `jacobian` says what of the force's derivative is kept.
 */
export function similarityStep(
  images: LevelImages,
  u: Tensor,
  jacobian: SimilarityJacobian,
): { step: Tensor; warped: Tensor; similarity: Tensor } {
  const limited = (force: Tensor) =>
    softNormalize(gaussian(force, sigmas(images, FORCE.smoothing)), FORCE.limit, FORCE.softness, images.ratios);
  const { force, ...seen } = lnccDisplacementForce(images, u);
  switch (jacobian) {
    case 'exact':
      return { step: limited(force), ...seen };
    case 'detached':
      return { step: detach(limited(force)), ...seen };
    case 'finite-difference':
      return { step: limited(symmetricJacobian((at) => lnccDisplacementForce(images, at).force, u, force)), ...seen };
  }
}

/** A convolution's weights, named and shaped as those of torch.nn.Conv3d. */
export interface Layer {
  weight: Tensor;
  bias: Tensor;
}

/** Declares a 3³ convolution; biases start at 0. */
export function layer(parameters: Parameters, name: string, from: number, to: number, initial: Initialiser = kaimingUniform()): Layer {
  return {
    weight: parameters.declare(`${name}.weight`, [to, from, 3, 3, 3], initial),
    bias: parameters.declare(`${name}.bias`, [to], zeros),
  };
}

/** A convolution of the cells: zero padding, leaky ReLU 0.2 unless given otherwise. */
export const convolve = (x: Tensor | readonly Tensor[], { weight, bias }: Layer, options: ConvOptions = {}): Tensor =>
  conv3d(x, weight, bias, { activation: 'leakyRelu', ...options });

/** A network whose activations are stored as `dtype`, between f32 on both sides. */
export const storedAs =
  <Inputs extends Tensor[]>(dtype: DType = 'f32', network: (...inputs: Inputs) => Tensor) =>
  (...inputs: Inputs): Tensor =>
    cast(network(...(inputs.map((x) => cast(x, dtype)) as Inputs)), 'f32');

/** Throws on options that are none, naming the cell. */
export function checkCell(cell: string, { channels, similarity, dtype = 'f32' }: CellOptions): void {
  if (!Number.isInteger(channels) || channels < 1) throw new Error(`${cell}: channels must be a whole number above 0, got ${channels}`);
  if (!similarityJacobians.includes(similarity))
    throw new Error(`${cell}: similarity ${similarity} is none of ${similarityJacobians.join(', ')}`);
  if (dtype !== 'f32' && dtype !== 'f16') throw new Error(`${cell}: dtype ${dtype} is none of f32, f16`);
}
