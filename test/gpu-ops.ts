// The engine's ops under the names and attributes of the reference.
import * as ops from '../src/ops/index.ts';
import type { Tensor } from '../src/index.ts';

export const gpuOps: Record<string, (xs: Tensor[], attrs: any) => Tensor> = {
  warp: ([image, u], { matrix }) => ops.warp(image, u, matrix),
  warpNearest: ([image, u], { matrix }) => ops.warpNearest(image, u, matrix),
  warpWithGradient([image, u], { matrix }) {
    const { warped, gradient } = ops.warpWithGradient(image, u, matrix);
    return ops.concat(warped, gradient);
  },
  resize: ([x], { size }) => ops.resize(x, size),
  gaussian: ([x], { sigma }) => ops.gaussian(x, sigma),
  windowSum: ([x], { window }) => ops.windowSum(x, window),
  lncc: ([a, b], { window, epsilon }) => ops.lncc(a, b, window, epsilon),
  lnccForce: ([a, b, gradient, weight], { window, epsilon }) =>
    ops.lnccForce(ops.localStatistics(a, window), ops.centre(b), gradient, weight, epsilon).force,
  ncc: ([a, b], { epsilon }) => ops.ncc(a, b, epsilon),
  mse: ([a, b]) => ops.mse(a, b),
  oneHot: ([labels], { values }) => ops.oneHot(labels, values),
  softDice: ([a, b], { epsilon }) => ops.softDice(a, b, epsilon),
  intensityTransform: ([x, t, noise]) => ops.intensityTransform(x, t, noise),
  diffusion: ([u], { weights }) => ops.diffusion(u, weights),
  jacobianDeterminant: ([u]) => ops.jacobianDeterminant(u),
  gradient: ([x]) => ops.gradient(x),
  add: ([x, y]) => ops.add(x, y),
  sub: ([x, y]) => ops.sub(x, y),
  mul: ([x, y]) => ops.mul(x, y),
  div: ([x, y]) => ops.div(x, y),
  neg: ([x]) => ops.neg(x),
  square: ([x]) => ops.square(x),
  sqrt: ([x]) => ops.sqrt(x),
  exp: ([x]) => ops.exp(x),
  log: ([x]) => ops.log(x),
  abs: ([x]) => ops.abs(x),
  reciprocal: ([x]) => ops.reciprocal(x),
  scale: ([x], { factor, offset }) => ops.scale(x, factor, offset),
  axpby: ([x, y], { a, b }) => ops.axpby(a, x, b, y),
  concat: (xs) => ops.concat(...xs),
  slice: ([x], { start, count }) => ops.slice(x, start, count),
  sumChannels: ([x]) => ops.sumChannels(x),
  sum: ([x]) => ops.sum(x),
  mean: ([x]) => ops.mean(x),
  conv3d: ([x, w, b], attrs) => ops.conv3d(x, w, b, attrs),
  dot: ([x, y]) => ops.dot(x, y),
  relu: ([x]) => ops.relu(x),
  leakyRelu: ([x], { slope }) => ops.leakyRelu(x, slope),
  elu: ([x], { alpha }) => ops.elu(x, alpha),
  tanh: ([x]) => ops.tanh(x),
  sigmoid: ([x]) => ops.sigmoid(x),
  instanceNorm: ([x, gamma, beta], { epsilon }) => ops.instanceNorm(x, gamma, beta, epsilon),
  weightNorm: ([v, g]) => ops.weightNorm(v, g),
};
