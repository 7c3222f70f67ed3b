// Intensities altered by gamma, gain, offset and noise.
import { map, type ReferenceOp } from './ndarray.ts';

/** gain · sign(x)·|x|^γ + offset + σ · noise, t = (γ, gain, offset, σ). */
export const intensityTransform: ReferenceOp = {
  name: 'intensityTransform',
  forward([x, t, noise]) {
    const [gamma, gain, offset, sigma] = t.data;
    return map(x, (v, i) => gain * Math.sign(v) * Math.abs(v) ** gamma + offset + (noise ? sigma * noise.data[i] : 0));
  },
  vjp: (inputs) => inputs.map(() => null),
};
