// The classical cell: one step of variational registration, written as a continuous map u ↦ f(u) whose fixed point is the result.
import type { Tensor } from '../graph/graph.ts';
import { compose, gaussian, softNormalize } from '../ops/index.ts';
import type { Mapped } from '../deq/solver.ts';
import { diffusionSigma, type LevelImages, lnccDisplacementForce, sigmas } from './cell.ts';

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

/**
 * f(u) = G_λ[v + u∘(id + v)], v = step · F/√(|F|² + softness²), F = G_s[force(u)]. The fixed point balances the similarity's force, of
 * bounded length, against diffusion. That resembles the Euler-Lagrange equation of LNCC + λ·diffusion, but is none: the force leaves out
 * the windows that a voxel shares with others, and steps are composed, not added. Composing small invertible steps keeps folds rare. Every
 * part is continuous in u, which a fixed point needs.
 */
export function variationalCell(images: LevelImages, { lambda, step, softness, smoothing }: VariationalOptions) {
  return (u: Tensor): Mapped => {
    const { force, similarity } = lnccDisplacementForce(images, u);
    const v = softNormalize(gaussian(force, sigmas(images, smoothing)), step, softness, images.ratios);
    return { next: gaussian(compose(u, v), sigmas(images, diffusionSigma(lambda))), monitor: similarity };
  };
}
