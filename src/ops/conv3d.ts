// 3-D convolution and its gradients. A convolution is a chain of passes, each over as many channels as fit a uniform buffer of weights.
import convSource from '../../kernels/conv3d.wgsl';
import dwSource from '../../kernels/conv3d_dw.wgsl';
import dwSumSource from '../../kernels/conv3d_dw_sum.wgsl';
import dxSource from '../../kernels/conv3d_dx.wgsl';
import foldSource from '../../kernels/conv3d_fold.wgsl';
import packSource from '../../kernels/conv3d_pack.wgsl';
import { type Constants, kernel, UNIFORM_BYTES } from '../gpu/kernel.ts';
import { type Dispatch, type Launch, numel, type Op, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { type Activation, activationConstants, activationDx } from './activation.ts';
import { flat, planes, volume, WG } from './launch.ts';

const convKernel = kernel('conv3d', convSource);
const dxKernel = kernel('conv3d_dx', dxSource);
const dwKernel = kernel('conv3d_dw', dwSource);
const dwSumKernel = kernel('conv3d_dw_sum', dwSumSource);
const foldKernel = kernel('conv3d_fold', foldSource);
const packKernel = kernel('conv3d_pack', packSource);

/** By kernel size: outputs along H that an invocation makes, and input channels that a workgroup of the weight gradient takes. */
const TILES: Record<number, { run: number; inputs: number }> = {
  1: { run: 4, inputs: 4 },
  3: { run: 6, inputs: 4 },
  5: { run: 4, inputs: 1 },
};
/** Voxels that an invocation of the input gradient of stride 2 makes. */
const DX_RUN = 4;
/** Output channels of one pass, at most. */
const CHANNELS = 16;
/** Chunks of voxels that the weight gradient is split over, at most. */
const CHUNKS = 64;

export interface ConvOptions {
  /** Steps between outputs, in voxels of x. Default 1. */
  stride?: 1 | 2;
  /** What lies beyond the border, K>>1 voxels on every side: 0, or its last voxel. Default 'zero'. */
  padding?: 'zero' | 'replicate';
  /** Applied to the result in the same pass. Default 'none'. */
  activation?: 'none' | 'leakyRelu';
  /** Of leaky ReLU below 0. Default 0.2. */
  slope?: number;
}
type Attrs = Required<ConvOptions>;

const defaults: Attrs = { stride: 1, padding: 'zero', activation: 'none', slope: 0.2 };
const allowed: { [key in keyof ConvOptions]: (value: unknown) => boolean } = {
  stride: (value) => value === 1 || value === 2,
  padding: (value) => value === 'zero' || value === 'replicate',
  activation: (value) => value === 'none' || value === 'leakyRelu',
  slope: (value) => typeof value === 'number' && value >= 0 && Number.isFinite(value),
};

const leaky = (slope: number): Activation => ({ f: 'leakyRelu', negative: slope });

function resolve(options: ConvOptions): Attrs {
  for (const [key, value] of Object.entries(options)) {
    const check = allowed[key as keyof ConvOptions];
    if (!check) throw new Error(`conv3d: unknown option ${key}; there are ${Object.keys(allowed).join(', ')}`);
    if (!check(value))
      throw new Error(
        `conv3d: ${key} = ${value} is not offered; stride is 1 or 2, padding zero or replicate, activation none or leakyRelu, slope ≥ 0`,
      );
  }
  return { ...defaults, ...options };
}

const convOp: Op<Attrs> = {
  name: 'conv3d',
  shape([x, w, b], { stride }) {
    const { n, c, d, h, w: width } = volume('conv3d', 'x', x!);
    const [outputs, inputs, ...taps] = w!;
    if (w!.length !== 5 || taps.some((k) => k !== taps[0]) || !TILES[taps[0]!])
      throw new Error(`conv3d: w must be [Co, Ci, K, K, K] with K = 1, 3 or 5, got ${show(w!)}`);
    if (inputs !== c) throw new Error(`conv3d: w expects Ci=${inputs}, got x ${show(x!)}, w ${show(w!)}`);
    if (b && (b.length !== 1 || b[0] !== outputs)) throw new Error(`conv3d: bias must be [${outputs}], got ${show(b)}, w ${show(w!)}`);
    return [[n, outputs!, ...[d, h, width].map((size) => Math.ceil(size / stride))]];
  },
  launch(node) {
    const {
      inputs: [x, w, b],
      outputs: [y],
      attrs: { stride, padding, activation, slope },
    } = node;
    const k = w!.shape[2]!;
    return convolve(node, x!, w!, y!, {
      stride,
      pad: k >> 1,
      replicate: padding === 'replicate',
      bias: b,
      activation: activation === 'none' ? undefined : leaky(slope),
    });
  },
  vjp({ inputs: [x, w, b], outputs: [y], cotangents: [dy], wanted, attrs }) {
    const g = attrs.activation === 'none' ? dy! : activationDx(y!, dy!, leaky(attrs.slope));
    const dx = wanted[0] ? trace(convDxOp, [g, w!], { ...attrs, shape: x!.shape }) : undefined;
    if (!wanted[1] && !wanted[2]) return [dx];
    const [dw, db] = x!.graph.apply(convDwOp, [x!, g], { ...attrs, k: w!.shape[2]! });
    return [dx, dw, b && db];
  },
};

/**
 * 3-D convolution (cross-correlation, as PyTorch's conv3d) of x [N, Ci, D, H, W] with w [Co, Ci, K, K, K], K = 1, 3 or 5, plus bias [Co],
 * padded by K>>1 voxels: [N, Co, ⌈D/stride⌉, ⌈H/stride⌉, ⌈W/stride⌉]. Bias and activation cost no pass of their own.
 */
export const conv3d = (x: Tensor, w: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor =>
  trace(convOp, bias ? [x, w, bias] : [x, w], resolve(options));

interface Convolution {
  stride: number;
  pad: number;
  replicate?: boolean;
  bias?: Tensor;
  activation?: Activation;
  gradient?: boolean;
}

/** The forward kernel's passes; with `gradient`, over the transposed and mirrored weights. */
function convolve(
  node: Launch<unknown>,
  x: Tensor,
  w: Tensor,
  y: Tensor,
  { stride, pad, replicate = false, bias, activation, gradient = false }: Convolution,
): Dispatch[] {
  const from = volume('conv3d', 'x', x.shape),
    to = volume('conv3d', 'y', y.shape);
  const k = w.shape[2]!,
    { run } = TILES[k]!;
  const count = to.w * Math.ceil(to.h / run) * to.d;
  const { constants, groups } = flat(count, to.n);
  return passes(node, w, from.c, to.c, { TRANSPOSE: String(gradient), FLIP: String(gradient) }, (pass, packed) => ({
    kernel: convKernel,
    groups,
    bindings: { x, w: packed, b: bias ?? x, y },
    constants: {
      ...constants,
      ...pass.constants,
      K: k,
      STRIDE: stride,
      PAD: `${pad}i`,
      RUN: run,
      REPLICATE: String(replicate),
      BIAS: String(bias !== undefined && pass.last),
      ACTIVATE: String(activation !== undefined && pass.last),
      ...activationConstants(activation ?? leaky(0)),
    },
    params: {
      ...pass.params,
      count,
      w: to.w,
      h: to.h,
      d: to.d,
      x_w: from.w,
      x_h: from.h,
      x_d: from.d,
      inputs: from.c,
      outputs: to.c,
      k,
    },
  }));
}

interface Pass {
  last: boolean;
  constants: Constants;
  params: { first_in: number; channels: number; first_out: number };
}

/** Splits a convolution into passes whose weights fit a uniform buffer: for each, the packing of the weights and the launch that uses them. */
function passes(
  node: Launch<unknown>,
  w: Tensor,
  inputs: number,
  outputs: number,
  order: Constants,
  launch: (pass: Pass, packed: Tensor) => Dispatch,
): Dispatch[] {
  const taps = numel(w.shape.slice(2));
  const dispatches: Dispatch[] = [];
  for (let first_out = 0; first_out < outputs; first_out += CHANNELS) {
    const vectors = Math.ceil(Math.min(CHANNELS, outputs - first_out) / 4);
    const most = Math.floor(UNIFORM_BYTES / (16 * vectors * taps));
    for (let first_in = 0; first_in < inputs; first_in += most) {
      const channels = Math.min(most, inputs - first_in);
      const count = channels * taps * vectors;
      const packed = node.workspace('packed', [4 * count]);
      const { constants, groups } = flat(count);
      dispatches.push(
        {
          kernel: packKernel,
          constants: { ...constants, ...order },
          groups,
          bindings: { w, packed },
          params: { count, taps, vectors, inputs, outputs, first_in, first_out },
        },
        launch(
          {
            last: first_in + channels === inputs,
            params: { first_in, channels, first_out },
            constants: { VECTORS: vectors, WEIGHTS: count, ACCUMULATE: String(first_in > 0) },
          },
          packed,
        ),
      );
    }
  }
  return dispatches;
}

const convDxOp: Op<Attrs & { shape: Shape }> = {
  name: 'conv3dDx',
  shape: (_, { shape }) => [shape],
  launch(node) {
    const {
      inputs: [dy, w],
      outputs: [dx],
      attrs: { stride, padding },
    } = node;
    const k = w!.shape[2]!,
      pad = k >> 1;
    if (padding === 'zero' || pad === 0) return gather(node, dy!, w!, dx!, stride, pad);
    const { n, c, d, h, w: width } = volume('conv3d', 'x', dx!.shape);
    const padded = node.workspace('padded', [n, c, d + 2 * pad, h + 2 * pad, width + 2 * pad]);
    const { constants, groups } = planes(width, h, n * c * d);
    return [
      ...gather(node, dy!, w!, padded, stride, 0),
      { kernel: foldKernel, constants: { ...constants, PAD: pad }, groups, bindings: { g: padded, dx: dx! }, params: { w: width, h, d } },
    ];
  },
};

/** The gradient in a volume that reaches `pad` voxels less far than the taps: at stride 1 a convolution itself. */
function gather(node: Launch<unknown>, dy: Tensor, w: Tensor, dx: Tensor, stride: number, pad: number): Dispatch[] {
  const k = w.shape[2]!;
  if (stride === 1) return convolve(node, dy, w, dx, { stride, pad: k - 1 - pad, gradient: true });
  const from = volume('conv3d', 'dy', dy.shape),
    to = volume('conv3d', 'dx', dx.shape);
  const half = (n: number) => Math.ceil(n / 2);
  const count = half(to.w) * Math.ceil(half(to.h) / DX_RUN) * half(to.d);
  const { constants, groups } = flat(count, 8 * to.n);
  return passes(node, w, from.c, to.c, { TRANSPOSE: 'true', FLIP: 'false' }, (pass, packed) => ({
    kernel: dxKernel,
    groups,
    bindings: { dy, w: packed, dx },
    constants: { ...constants, ...pass.constants, K: k, PAD: pad, RUN: DX_RUN },
    params: { ...pass.params, count, w: to.w, h: to.h, d: to.d, y_w: from.w, y_h: from.h, y_d: from.d, inputs: from.c, outputs: to.c },
  }));
}

const convDwOp: Op<Attrs & { k: number }> = {
  name: 'conv3dDw',
  shape: ([x, dy], { k }) => [[dy![1]!, x![1]!, k, k, k], [dy![1]!]],
  launch(node) {
    const {
      inputs: [x, dy],
      outputs: [dw, db],
      attrs: { stride, padding, k },
    } = node;
    const from = volume('conv3d', 'x', x!.shape),
      to = volume('conv3d', 'dy', dy!.shape);
    const tile = TILES[k]!.inputs;
    const columns = to.n * to.d * to.w,
      groups = Math.ceil(columns / WG);
    const chunks = Math.ceil(groups / Math.ceil(groups / CHUNKS)); // every chunk walks along as many columns
    const weights = numel(dw!.shape),
      length = weights + to.c;
    const partials = node.workspace('partials', [chunks, length]);
    const total = (y: Tensor, first: number): Dispatch => {
      const count = numel(y.shape);
      return { kernel: dwSumKernel, ...flat(count), bindings: { partials, y }, params: { count, chunks, length, first } };
    };
    return [
      {
        kernel: dwKernel,
        groups: [k * Math.ceil(from.c / tile) * Math.ceil(to.c / 4), chunks, 1],
        bindings: { x: x!, dy: dy!, partials },
        constants: { WG, K: k, STRIDE: stride, PAD: `${k >> 1}i`, TILE: tile, REPLICATE: String(padding === 'replicate') },
        params: { columns, w: to.w, h: to.h, d: to.d, x_w: from.w, x_h: from.h, x_d: from.d, inputs: from.c, outputs: to.c },
      },
      total(dw!, 0),
      total(db!, weights),
    ];
  },
};
