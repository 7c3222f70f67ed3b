// Steps of iterative methods: the soft-limited step, and Adam's update.
import adamSource from '../../kernels/adam.wgsl';
import adamAdvanceSource from '../../kernels/adam_advance.wgsl';
import softNormalizeSource from '../../kernels/soft_normalize.wgsl';
import softNormalizeDxSource from '../../kernels/soft_normalize_dx.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Op, sameShape, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { type PerAxis, perAxis } from './filter.ts';
import { flat, volume } from './launch.ts';
import { reset } from './pointwise.ts';

const adamKernel = kernel('adam', adamSource);
const adamAdvanceKernel = kernel('adam_advance', adamAdvanceSource);
const softNormalizeKernel = kernel('soft_normalize', softNormalizeSource);
const softNormalizeDxKernel = kernel('soft_normalize_dx', softNormalizeDxSource);

interface SoftAttrs { limit: number; epsilon: number; ratios: readonly [number, number, number] }

function softParams(shape: Shape, { limit, epsilon, ratios: [ratio_w, ratio_h, ratio_d] }: SoftAttrs) {
  const { n, voxels } = volume('softNormalize', 'x', shape, 3);
  return { ...flat(voxels, n), params: { spatial: voxels, limit, epsilon, ratio_w, ratio_h, ratio_d } };
}

const softNormalizeOp: Op<SoftAttrs> = {
  name: 'softNormalize',
  shape([x], { limit, epsilon }) {
    volume('softNormalize', 'x', x!, 3);
    if (!(limit > 0) || !(epsilon > 0)) throw new Error(`softNormalize: limit and epsilon must be above 0, got ${limit}, ${epsilon}`);
    return [x!];
  },
  launch: ({ inputs: [x], outputs: [y], attrs }) => [{ kernel: softNormalizeKernel, ...softParams(x!.shape, attrs), bindings: { x: x!, y: y! } }],
  vjp: ({ inputs: [x], cotangents: [dy], attrs }) => [trace(softNormalizeDxOp, [x!, dy!], attrs)],
};

const softNormalizeDxOp: Op<SoftAttrs> = {
  name: 'softNormalizeDx',
  shape: ([x]) => [x!],
  launch: ({ inputs: [x, dy], outputs: [dx], attrs }) =>
    [{ kernel: softNormalizeDxKernel, ...softParams(x!.shape, attrs), bindings: { x: x!, dy: dy!, dx: dx! } }],
};

/**
 * limit · r²x/sqrt(|r·x|² + ε²) over the channels of [N, 3, D, H, W]: a step along x never longer than `limit`, smooth in x. With
 * r = finest spacing/spacing along (w, h, d), x a force per voxel and y a step in voxels, the step is the same in mm on every grid.
 */
export const softNormalize = (x: Tensor, limit: number, epsilon: number, ratios: PerAxis = 1): Tensor =>
  trace(softNormalizeOp, [x], { limit, epsilon, ratios: perAxis(ratios) });

export interface AdamOptions { rate: number; beta1?: number; beta2?: number; epsilon?: number }

/** A parameter with Adam's moments and bias corrections. */
export interface AdamState { parameter: Tensor; first: Tensor; second: Tensor; corrections: Tensor }

const adamOp: Op<Required<AdamOptions>> = {
  name: 'adam',
  shape([g], _, [p]) {
    if (!sameShape(g!, p!)) throw new Error(`adam: the gradient is ${show(g!)}, the parameter ${show(p!)}`);
    return [];
  },
  launch({ inputs: [g], updates: [p, m, v, t], attrs: { rate, beta1, beta2, epsilon } }): Dispatch[] {
    const count = numel(g!.shape);
    return [
      { kernel: adamAdvanceKernel, groups: [1, 1, 1], bindings: { t: t! }, params: { beta1, beta2 } },
      { kernel: adamKernel, ...flat(count), bindings: { g: g!, t: t!, p: p!, m: m!, v: v! }, params: { count, rate, beta1, beta2, epsilon } },
    ];
  },
};

/** Declares Adam's moments for a variable. Trace `resetAdam` before the first step. */
export function adamState(parameter: Tensor): AdamState {
  const { graph, shape, label, persistent } = parameter;
  const moment = (name: string, size = shape) => graph.variable(`${label}.${name}`, size, 'optimizer', { persistent });
  return { parameter, first: moment('first'), second: moment('second'), corrections: moment('corrections', [4]) };
}

export function resetAdam({ first, second, corrections }: AdamState): void {
  [first, second, corrections].forEach((t) => reset(t));
}

/** One step of Adam (Kingma & Ba, ICLR 2015) down the gradient. */
export function adam({ parameter, first, second, corrections }: AdamState, gradient: Tensor, options: AdamOptions): void {
  const attrs = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, ...options };
  parameter.graph.apply(adamOp, [gradient], attrs, [parameter, first, second, corrections]);
}
