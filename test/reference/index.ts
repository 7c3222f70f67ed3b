// Every tensor op in float64 on the CPU, as plain loops, with hand-written VJPs: what the GPU kernels are tested against.
import { elu, leakyRelu, relu, sigmoid, tanh } from './activations.ts';
import { concat, slice, sumChannels } from './channels.ts';
import { conv3d } from './conv3d.ts';
import { gaussian, resize, windowSum } from './filters.ts';
import { intensityTransform } from './intensity.ts';
import { gradient, jacobianDeterminant } from './jacobian.ts';
import { oneHot, softDice } from './labels.ts';
import { diffusion, lncc, lnccForce, mse, ncc } from './losses.ts';
import type { ReferenceOp } from './ndarray.ts';
import { instanceNorm, weightNorm } from './normalize.ts';
import { abs, add, axpby, div, exp, log, mul, neg, reciprocal, scale, sqrt, square, sub } from './pointwise.ts';
import { dot, mean, sum } from './reductions.ts';
import { warp, warpNearest, warpWithGradient } from './warp.ts';

export type { NdArray, ReferenceOp } from './ndarray.ts';

export const reference: Record<string, ReferenceOp> = {
  warp,
  warpNearest,
  warpWithGradient,
  resize,
  gaussian,
  windowSum,
  lncc,
  lnccForce,
  ncc,
  mse,
  oneHot,
  softDice,
  intensityTransform,
  diffusion,
  jacobianDeterminant,
  gradient,
  add,
  sub,
  mul,
  div,
  neg,
  square,
  sqrt,
  exp,
  log,
  abs,
  reciprocal,
  scale,
  axpby,
  concat,
  slice,
  sumChannels,
  sum,
  mean,
  dot,
  conv3d,
  relu,
  leakyRelu,
  elu,
  tanh,
  sigmoid,
  instanceNorm,
  weightNorm,
};
