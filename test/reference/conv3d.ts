// 3-D convolution: six plain loops over outputs and taps, run forward, and backward into x, w and bias. And its cases.
import type { Case } from './cases.ts';
import { map, uniform, zeros, type NdArray, type ReferenceOp } from './ndarray.ts';

interface ConvAttrs {
  stride?: number;
  padding?: 'zero' | 'replicate';
  activation?: 'none' | 'leakyRelu';
  slope?: number;
}

/** Calls visit(index in y, index in x, index in w) for every product; what lies beyond a zero border has none. */
function products(
  x: number[],
  w: number[],
  y: number[],
  { stride = 1, padding = 'zero' }: ConvAttrs,
  visit: (y: number, x: number, w: number) => void,
): void {
  const [, channels, ...size] = x;
  const [outputs, , k] = w;
  const reads = (p: number, tap: number, n: number) => {
    const q = p * stride + tap - (k >> 1);
    return padding === 'replicate' ? Math.min(n - 1, Math.max(0, q)) : q >= 0 && q < n ? q : -1;
  };
  for (let n = 0; n < y[0]; n++)
    for (let o = 0; o < outputs; o++) {
      for (let d = 0; d < y[2]; d++)
        for (let h = 0; h < y[3]; h++)
          for (let v = 0; v < y[4]; v++) {
            for (let i = 0; i < channels; i++)
              for (let t = 0; t < k ** 3; t++) {
                const taps = [Math.floor(t / (k * k)), Math.floor(t / k) % k, t % k];
                const [qd, qh, qw] = [d, h, v].map((p, axis) => reads(p, taps[axis], size[axis]));
                if (qd < 0 || qh < 0 || qw < 0) continue;
                visit(
                  (((n * outputs + o) * y[2] + d) * y[3] + h) * y[4] + v,
                  (((n * channels + i) * size[0] + qd) * size[1] + qh) * size[2] + qw,
                  (o * channels + i) * k ** 3 + t,
                );
              }
          }
    }
}

const outputShape = (x: number[], w: number[], { stride = 1 }: ConvAttrs) => {
  const pad = w[2] >> 1;
  return [x[0], w[0], ...x.slice(2).map((n) => Math.floor((n + 2 * pad - w[2]) / stride) + 1)];
};
const channelOf = (y: NdArray, i: number) => Math.floor(i / (y.data.length / y.shape[0] / y.shape[1])) % y.shape[1];

function linear([x, w, bias]: NdArray[], attrs: ConvAttrs): NdArray {
  const y = zeros(outputShape(x.shape, w.shape, attrs));
  products(x.shape, w.shape, y.shape, attrs, (at, from, weight) => {
    y.data[at] += x.data[from] * w.data[weight];
  });
  return bias ? map(y, (value, i) => value + bias.data[channelOf(y, i)]) : y;
}

/** The factor of leaky ReLU at a value. */
const factor = (value: number, { activation = 'none', slope = 0.2 }: ConvAttrs) => (activation === 'none' || value > 0 ? 1 : slope);

/** x [N, Ci, D, H, W], w [Co, Ci, K, K, K] and perhaps bias [Co], padded by K>>1; the cross-correlation that PyTorch calls conv3d. */
export const conv3d: ReferenceOp = {
  name: 'conv3d',
  forward: (inputs, attrs: ConvAttrs) => map(linear(inputs, attrs), (value) => value * factor(value, attrs)),
  vjp([x, w, bias], attrs: ConvAttrs, cotangent) {
    const inner = linear(bias ? [x, w, bias] : [x, w], attrs);
    const dy = map(cotangent, (value, i) => value * factor(inner.data[i], attrs));
    const [dx, dw] = [zeros(x.shape), zeros(w.shape)];
    products(x.shape, w.shape, dy.shape, attrs, (at, from, weight) => {
      dx.data[from] += dy.data[at] * w.data[weight];
      dw.data[weight] += dy.data[at] * x.data[from];
    });
    if (!bias) return [dx, dw];
    const db = zeros(bias.shape);
    dy.data.forEach((value, i) => {
      db.data[channelOf(dy, i)] += value;
    });
    return [dx, dw, db];
  },
};

/** Inputs for which no value before the activation is within 1e-3 of 0. */
function awayFromKink(make: (seed: number) => NdArray[], attrs: ConvAttrs): NdArray[] {
  for (let seed = 200; ; seed++) {
    const inputs = make(seed);
    if (linear(inputs, attrs).data.every((value) => Math.abs(value) > 1e-3)) return inputs;
  }
}

const convCase = (label: string, x: number[], outputs: number, k: number, attrs: ConvAttrs = {}, bias = true): Case => ({
  op: 'conv3d',
  label,
  attrs,
  inputs: awayFromKink(
    (seed) => [uniform(x, seed), uniform([outputs, x[1], k, k, k], seed + 1000), ...(bias ? [uniform([outputs], seed + 2000)] : [])],
    attrs,
  ),
});
const replicate = { padding: 'replicate' } as const,
  leaky = { activation: 'leakyRelu' } as const;

export const convCases: Case[] = [
  convCase('1³', [2, 3, 3, 4, 5], 5, 1),
  convCase('1³, stride 2, no bias', [1, 2, 5, 4, 3], 3, 1, { stride: 2 }, false),
  convCase('3³', [1, 2, 3, 4, 5], 3, 3),
  convCase('3³, N=2, no bias', [2, 3, 3, 5, 4], 2, 3, {}, false),
  convCase('3³, replicate', [1, 2, 4, 3, 5], 2, 3, replicate),
  convCase('3³, stride 2', [2, 2, 5, 4, 3], 3, 3, { stride: 2 }),
  convCase('3³, stride 2, replicate', [1, 2, 4, 5, 6], 2, 3, { stride: 2, ...replicate }),
  convCase('3³, leaky ReLU', [1, 2, 3, 4, 3], 3, 3, leaky),
  convCase('3³, stride 2, leaky ReLU of another slope, no bias', [1, 2, 5, 3, 4], 2, 3, { stride: 2, ...leaky, slope: 0.01 }, false),
  convCase('3³, one slice', [1, 2, 1, 5, 4], 2, 3),
  convCase('3³, one slice, replicate', [1, 1, 1, 5, 4], 2, 3, replicate),
  convCase('1³, 17 channels to 18', [1, 17, 1, 2, 3], 18, 1),
  convCase('3³, 5 channels to 9', [1, 5, 1, 2, 2], 9, 3),
  convCase('5³', [1, 2, 4, 3, 5], 1, 5),
  convCase('5³, replicate, N=2', [2, 1, 3, 2, 4], 2, 5, replicate),
  convCase('5³, stride 2', [1, 1, 5, 4, 7], 2, 5, { stride: 2 }),
  convCase('5³, stride 2, replicate, leaky ReLU', [1, 2, 3, 4, 2], 1, 5, { stride: 2, ...replicate, ...leaky }),
];
