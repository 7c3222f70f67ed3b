// The classical cell: one step of variational registration, written as a continuous map u ↦ f(u) whose fixed point is the result.
import type { Tensor } from '../graph/graph.ts';
import { compose, gaussian, lnccForce, type Matrix, mul, softNormalize, type Statistics, warp, warpWithGradient } from '../ops/index.ts';
import type { Mapped } from '../deq/solver.ts';

export interface VariationalOptions {
  /** Diffusion regularisation a step, in voxel² of the finest axis: the field is smoothed by a Gaussian of σ = √(2λ) voxels. */
  lambda: number;
  /** Longest step, in voxels of the finest axis. */
  step: number;
  /** Forces (LNCC per voxel) much smaller than this move in proportion, larger ones by `step`. */
  softness: number;
  /** σ of the Gaussian that smooths the force, in voxels of the finest axis. */
  smoothing: number;
}

/** What the cell needs of a level. */
export interface LevelImages {
  /** Statistics of the fixed image. */
  fixed: Statistics;
  /** The moving image, `withGradient`, on a grid of its own. */
  moving: Tensor;
  /** Maps voxels of the fixed grid to voxels of the moving one. */
  matrix: Matrix;
  /** Finest spacing / spacing of the fixed grid along (w, h, d), at most 1: smoothing and steps are the same in mm along all axes. */
  ratios: readonly [number, number, number];
  /** Masks (0…1) on the fixed and on the moving grid: where the similarity counts. Everywhere, if left out. */
  masks?: { fixed?: Tensor; moving?: Tensor };
}

/** A σ in voxels of the finest axis as σ along each axis. */
export const sigmas = ({ ratios }: LevelImages, sigma: number) => ratios.map((r) => r * sigma) as [number, number, number];

/** σ in voxels of one diffusion step λ·Δu: the semi-implicit step (I − λΔ)⁻¹ to first order. */
export const diffusionSigma = (lambda: number): number => Math.sqrt(2 * lambda);

/** The similarity's force on the displacement, ∂LNCC/∂warped · (∇moving)(M·(p + u(p))), [N, 3, D, H, W], and the mean LNCC. */
export function lnccDisplacementForce({ fixed, moving, matrix, masks }: LevelImages, u: Tensor): { force: Tensor; similarity: Tensor } {
  const { warped, gradient } = warpWithGradient(moving, u, matrix);
  const there = masks?.moving && warp(masks.moving, u, matrix);
  return lnccForce(fixed, warped, gradient, masks?.fixed && there ? mul(masks.fixed, there) : (masks?.fixed ?? there));
}

/**
 * f(u) = G_λ[v + u∘(id + v)], v = step · F/√(|F|² + softness²), F = G_s[force(u)]. The fixed point balances the similarity's force
 * against diffusion (the Euler-Lagrange equation of LNCC + λ·diffusion, with a force of bounded length); composing small
 * invertible steps keeps the map from folding. Every part is continuous in u, which a fixed point needs.
 */
export function variationalCell(images: LevelImages, { lambda, step, softness, smoothing }: VariationalOptions) {
  return (u: Tensor): Mapped => {
    const { force, similarity } = lnccDisplacementForce(images, u);
    const v = softNormalize(gaussian(force, sigmas(images, smoothing)), step, softness, images.ratios);
    return { next: gaussian(compose(u, v), sigmas(images, diffusionSigma(lambda))), monitor: similarity };
  };
}
