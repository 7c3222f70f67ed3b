// All ops, and differentiation over them.
import { reverse } from '../graph/grad.ts';
import { numel, show, type Tensor } from '../graph/graph.ts';
import { add, fill } from './pointwise.ts';

export { type Activation, activationConstants, elu, leakyRelu, relu, sigmoid, tanh } from './activation.ts';
export { affineField } from './affine.ts';
export { cast } from './cast.ts';
export { concat, expandChannels, slice, split, sumChannels } from './channels.ts';
export { conv3d, type ConvOptions } from './conv3d.ts';
export { symmetricJacobian } from './finite-difference.ts';
export { gaussian, type PerAxis, resize, windowSum } from './filter.ts';
export { intensityTransform } from './intensity.ts';
export { inverse } from './inverse.ts';
export { oneHot, softDice } from './labels.ts';
export { lnccForce } from './lncc-force.ts';
export { instanceNorm, weightNorm } from './normalize.ts';
export { adam, type AdamOptions, type AdamState, adamState, ema, gradientClip, resetAdam } from './optimizer.ts';
export {
  abs,
  add,
  assign,
  axpby,
  detach,
  div,
  dot,
  exp,
  fill,
  applyWindow,
  log,
  mul,
  neg,
  reciprocal,
  reset,
  scale,
  scaleChannels,
  sqrt,
  square,
  sub,
} from './pointwise.ts';
export { mean, spread, sum } from './reduce.ts';
export { diffusion, gradient, jacobianDeterminant } from './regularity.ts';
export { centre, lncc, LNCC_EPSILON, localStatistics, mse, ncc, type Statistics } from './similarity.ts';
export { softNormalize } from './step.ts';
export { compose, identity, type Matrix, resample, warp, warpFull, warpNearest } from './warp.ts';
export { warpWithGradient, withGradient } from './warp-with-gradient.ts';

/**
 * The vector-Jacobian product of `outputs` for the given cotangents: gradients for each of `wrt`. Traced into the phase
 * being traced, so that it can be replayed; ops it does not need are not computed.
 */
export const vjp = (outputs: readonly Tensor[], cotangents: readonly Tensor[], wrt: readonly Tensor[]): Tensor[] =>
  reverse(outputs, cotangents, wrt, add);

/**
 * Gradients of a scalar (shape [1]) for each of `wrt`. They are traced ops: those that are made of sums, products and linear filters have
 * gradients of their own; convolutions, activations, norms, warps and LNCC are differentiated once, but for `lnccForce`.
 */
export function grad(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (numel(loss.shape) !== 1) throw new Error(`grad: needs a scalar, got ${show(loss.shape)}; sum it, or give cotangents to vjp`);
  return vjp([loss], [fill(loss.graph, loss.shape, 1)], wrt);
}
