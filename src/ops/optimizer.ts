// Optimisers: Adam and AdamW, clipping by the global norm, moving averages of weights. All of it stays on the GPU.
import adamSource from '../../kernels/adam.wgsl';
import adamAdvanceSource from '../../kernels/adam_advance.wgsl';
import clipScaleSource from '../../kernels/clip_scale.wgsl';
import emaSource from '../../kernels/ema.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Op, sameShape, show, type Tensor, trace } from '../graph/graph.ts';
import { flatItems, offsets, WG } from './launch.ts';
import { reset } from './pointwise.ts';
import { partialsOf, reducePart } from './reduce.ts';

const adamKernel = kernel('adam', adamSource);
const adamAdvanceKernel = kernel('adam_advance', adamAdvanceSource);
const clipScaleKernel = kernel('clip_scale', clipScaleSource);
const emaKernel = kernel('ema', emaSource);

export interface AdamOptions {
  /** Learning rate: a number, or a tensor [1] that the CPU uploads before a step, so that a schedule needs no new program. */
  rate: number | Tensor;
  beta1?: number;
  beta2?: number;
  epsilon?: number;
  /** Decoupled weight decay, as in AdamW: each step also takes rate · weightDecay · parameter off. Default 0. */
  weightDecay?: number;
  /** What `gradientClip` returned: its factor is applied to the gradient; at 0 the step is left out. */
  clip?: Tensor;
}

/** A parameter with Adam's moments and bias corrections. */
export interface AdamState {
  parameter: Tensor;
  first: Tensor;
  second: Tensor;
  corrections: Tensor;
}

/** `scheduled` and `clipped` say which of the inputs [gradient, rate, clip] are there. */
interface AdamAttrs {
  rate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  scheduled: boolean;
  clipped: boolean;
}

const adamOp: Op<AdamAttrs> = {
  name: 'adam',
  shape([g, ...rest], { scheduled, clipped }, [p]) {
    if (!sameShape(g, p)) throw new Error(`adam: the gradient is ${show(g)}, the parameter ${show(p)}`);
    const [rate, clip] = [scheduled && rest[0], clipped && rest.at(-1)];
    if (rate && !sameShape(rate, [1])) throw new Error(`adam: the rate is a number or a tensor [1], got ${show(rate)}`);
    if (clip && !sameShape(clip, [2])) throw new Error(`adam: clip is what gradientClip returns, [2], got ${show(clip)}`);
    return [];
  },
  launch({
    inputs: [g, ...rest],
    updates: [p, m, v, t],
    attrs: { scheduled, clipped, beta1, beta2, rate, epsilon, weightDecay },
  }): Dispatch[] {
    const { constants, groups, count } = flatItems(numel(g.shape));
    const [rates, clip] = [scheduled ? rest[0] : g, clipped ? rest.at(-1)! : g];
    return [
      {
        kernel: adamAdvanceKernel,
        constants: { CLIPPED: clipped },
        groups: [1, 1, 1],
        bindings: { clip, t },
        params: { beta1, beta2 },
      },
      {
        kernel: adamKernel,
        constants: { ...constants, SCHEDULED: scheduled, CLIPPED: clipped },
        groups,
        bindings: { g, t, rates, clip, p, m, v },
        params: { count, rate, beta1, beta2, epsilon, decay: weightDecay },
      },
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

/** One step of Adam (Kingma & Ba, ICLR 2015), with `weightDecay` of AdamW (Loshchilov & Hutter, ICLR 2019), down the gradient. */
export function adam({ parameter, first, second, corrections }: AdamState, gradient: Tensor, options: AdamOptions): void {
  const { rate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, clip } = options;
  if (![beta1, beta2].every((beta) => beta >= 0 && beta < 1))
    throw new Error(`adam: beta1 and beta2 must be in [0, 1), got ${beta1}, ${beta2}`);
  const scheduled = typeof rate !== 'number';
  const inputs = [gradient, ...(scheduled ? [rate] : []), ...(clip ? [clip] : [])];
  const attrs = { rate: scheduled ? 0 : rate, beta1, beta2, epsilon, weightDecay, scheduled, clipped: !!clip };
  parameter.graph.apply(adamOp, inputs, attrs, [parameter, first, second, corrections]);
}

const gradientClipOp: Op<{ maxNorm: number }> = {
  name: 'gradientClip',
  shape(_, { maxNorm }) {
    if (!(maxNorm > 0)) throw new Error(`gradientClip: the largest norm must be above 0, got ${maxNorm}`);
    return [[2]];
  },
  launch({ inputs, outputs: [clip], attrs: { maxNorm }, workspace, processor }) {
    const counts = inputs.map((g) => partialsOf(numel(g.shape)));
    const total = counts.reduce((a, b) => a + b, 0);
    const squares = workspace('squares', [total]);
    const at = offsets(counts);
    return [
      ...inputs.map((g, i) => reducePart(processor, 'DOT', g, g, squares, at[i])),
      {
        kernel: clipScaleKernel,
        constants: { WG },
        groups: [1, 1, 1],
        bindings: { squares, clip },
        params: { count: total, max_norm: maxNorm },
      },
    ];
  },
};

/**
 * For gradients whose joint 2-norm shall be at most `maxNorm`: [factor, norm], for `adam`'s option `clip` (torch.nn.utils.clip_grad_norm_).
 * The factor is 0 where the norm is NaN, infinite or too large to be squared in f32: such a step is left out.
 */
export const gradientClip = (gradients: readonly Tensor[], maxNorm: number): Tensor => trace(gradientClipOp, gradients, { maxNorm });

const emaOp: Op<{ decay: number }> = {
  name: 'ema',
  shape([x], { decay }, [average]) {
    if (!sameShape(x, average)) throw new Error(`ema: the average is ${show(average)}, the value ${show(x)}`);
    if (!(decay >= 0 && decay < 1)) throw new Error(`ema: decay must be in 0…1, below 1, got ${decay}`);
    return [];
  },
  launch({ inputs: [x], updates: [average], attrs: { decay } }) {
    const { count, ...over } = flatItems(numel(x.shape));
    return [
      {
        kernel: emaKernel,
        ...over,
        bindings: { x, average },
        params: { count, decay },
      },
    ];
  },
};

/** average ← decay · average + (1 − decay) · value: the exponential moving average of a weight. Start it with `assign`. */
export const ema = (average: Tensor, value: Tensor, decay: number): void => void value.graph.apply(emaOp, [value], { decay }, [average]);
