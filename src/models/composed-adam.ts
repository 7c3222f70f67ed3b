// The optimiser-based counterpart of the classical cell: the same force, normalised by Adam, in composed steps.
import type { Graph, Tensor } from '../graph/graph.ts';
import { adam, adamState, type AdamState, compose, gaussian, reset, scaleChannels } from '../ops/index.ts';
import type { Mapped } from '../deq/solver.ts';
import { diffusionSigma, type LevelImages, lnccDisplacementForce, sigmas } from './cell.ts';
import type { VariationalOptions } from './variational.ts';

/** Adam's memory for one level: moments, and the direction it proposes. Trace `resetAdam` in the phase that starts the level. */
export const composedAdamState = (graph: Graph, name: string, shape: readonly number[]): AdamState =>
  adamState(graph.variable(`${name}.direction`, shape, 'optimizer'));

/**
 * u ← G_λ[v + u∘(id + v)], v = G_s[step · m̂/(√v̂ + softness)], m̂ and v̂ Adam's moments of the LNCC force. Reaches a good alignment in few
 * steps, but remembers: it is no map of u alone, and has no fixed point to report a residual of.
 */
export function composedAdam(images: LevelImages, memory: AdamState, { lambda, step, softness, smoothing }: VariationalOptions) {
  return (u: Tensor): Mapped => {
    const { force, similarity } = lnccDisplacementForce(images, u);
    reset(memory.parameter); // Adam moves a parameter; from zero, uphill, what it leaves is the direction
    adam(memory, force, { rate: -step, epsilon: softness });
    const v = scaleChannels(gaussian(memory.parameter, sigmas(images, smoothing)), images.ratios);
    return { next: gaussian(compose(u, v), sigmas(images, diffusionSigma(lambda))), monitor: similarity };
  };
}
