// Intensities of an image altered at random: gamma, gain, offset and noise.
import intensityTransformSource from '../../kernels/intensity_transform.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { numel, type Op, sameShape, show, type Tensor, trace } from '../graph/graph.ts';
import { flat } from './launch.ts';

const intensityTransformKernel = kernel('intensity_transform', intensityTransformSource);

const intensityTransformOp: Op<object> = {
  name: 'intensityTransform',
  constant: true,
  shape([x, t, noise]) {
    if (!sameShape(t, [4])) throw new Error(`intensityTransform: t holds γ, gain, offset and σ, of shape [4]; got ${show(t)}`);
    if (noise && !sameShape(x, noise)) throw new Error(`intensityTransform: x ${show(x)} and noise ${show(noise)} differ in shape`);
    return [x];
  },
  launch({ inputs: [x, t, noise], outputs: [y] }) {
    const count = numel(x.shape);
    const { constants, groups } = flat(count);
    return [
      {
        kernel: intensityTransformKernel,
        constants: { ...constants, NOISY: !!noise },
        groups,
        bindings: { x, t, noise: noise ?? x, y },
        params: { count },
      },
    ];
  },
};

/**
 * gain · sign(x)·|x|^γ + offset + σ · noise, of x's shape; t [4] holds (γ, gain, offset, σ). γ and gain keep 0 at 0. Without `noise`
 * σ has no effect. A constant to gradients.
 */
export const intensityTransform = (x: Tensor, t: Tensor, noise?: Tensor): Tensor =>
  trace(intensityTransformOp, [x, t, ...(noise ? [noise] : [])], {});
