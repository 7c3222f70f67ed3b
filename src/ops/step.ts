// Steps of iterative methods: the soft-limited step, and Adam's update.
import adamSource from '../../kernels/adam.wgsl';
import adamAdvanceSource from '../../kernels/adam_advance.wgsl';
import softNormalizeSource from '../../kernels/soft_normalize.wgsl';
import softNormalizeDxSource from '../../kernels/soft_normalize_dx.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Op, sameShape, show, type Tensor, trace } from '../graph/graph.ts';
import { flat } from './launch.ts';
import { reset } from './pointwise.ts';

const adamKernel = kernel('adam', adamSource);
const adamAdvanceKernel = kernel('adam_advance', adamAdvanceSource);
const softNormalizeKernel = kernel('soft_normalize', softNormalizeSource);
const softNormalizeDxKernel = kernel('soft_normalize_dx', softNormalizeDxSource);

interface SoftAttrs { limit: number; epsilon: number }

const softNormalizeOp: Op<SoftAttrs> = {
  name: 'softNormalize',
  shape([x], { limit, epsilon }) {
    if (x!.length < 3) throw new Error(`softNormalize: needs [N, C, …], got ${show(x!)}`);
    if (!(limit > 0) || !(epsilon > 0)) throw new Error(`softNormalize: limit and epsilon must be above 0, got ${limit}, ${epsilon}`);
    return [x!];
  },
  launch({ inputs: [x], outputs: [y], attrs }) {
    const spatial = numel(x!.shape.slice(2));
    return [{ kernel: softNormalizeKernel, ...flat(spatial, x!.shape[0]!), bindings: { x: x!, y: y! }, params: { spatial, channels: x!.shape[1]!, ...attrs } }];
  },
  vjp: ({ inputs: [x], cotangents: [dy], attrs }) => [trace(softNormalizeDxOp, [x!, dy!], attrs)],
};

const softNormalizeDxOp: Op<SoftAttrs> = {
  name: 'softNormalizeDx',
  shape: ([x]) => [x!],
  launch({ inputs: [x, dy], outputs: [dx], attrs }) {
    const spatial = numel(x!.shape.slice(2));
    return [{
      kernel: softNormalizeDxKernel, ...flat(spatial, x!.shape[0]!),
      bindings: { x: x!, dy: dy!, dx: dx! }, params: { spatial, channels: x!.shape[1]!, ...attrs },
    }];
  },
};

/** limit · x/sqrt(|x|² + ε²) over the channels of [N, C, …]: the direction of x, never longer than `limit`, smooth in x. */
export const softNormalize = (x: Tensor, limit: number, epsilon: number): Tensor => trace(softNormalizeOp, [x], { limit, epsilon });

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
