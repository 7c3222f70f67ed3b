// All ops, and differentiation over them.
import { reverse } from '../graph/grad.ts';
import type { Tensor } from '../graph/graph.ts';
import { add, fill } from './pointwise.ts';

export * from './affine.ts';
export * from './channels.ts';
export * from './filter.ts';
export * from './pointwise.ts';
export * from './reduce.ts';
export * from './regularity.ts';
export * from './similarity.ts';
export * from './step.ts';
export * from './warp.ts';

/**
 * The vector-Jacobian product of `outputs` for the given cotangents: gradients for each of `wrt`. Traced into the phase
 * being traced, so that it can be replayed; ops it does not need are not computed.
 */
export const vjp = (outputs: readonly Tensor[], cotangents: readonly Tensor[], wrt: readonly Tensor[]): Tensor[] => reverse(outputs, cotangents, wrt, add);

/** Gradients of a scalar (shape [1]) for each of `wrt`. */
export function grad(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  return vjp([loss], [fill(loss.graph, loss.shape, 1)], wrt);
}
export { flat, WG } from './launch.ts';
