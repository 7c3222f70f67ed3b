// 3-D convolution and its gradients: shapes, launches and pullbacks. How a convolution is cut into passes is in conv3d-passes.ts.
import dwSource from '../../kernels/conv3d_dw.wgsl';
import dwSumSource from '../../kernels/conv3d_dw_sum.wgsl';
import replicatePadDxSource from '../../kernels/replicate_pad_dx.wgsl';
import { kernel } from '../gpu/kernel.ts';
import {
  type Dispatch,
  type DType,
  numel,
  oneDtype,
  type Op,
  type Processor,
  sameShape,
  type Shape,
  show,
  type Tensor,
  trace,
} from '../graph/graph.ts';
import { checkOptions } from '../graph/options.ts';
import { activationDx } from './activation.ts';
import { ACROSS, convolve, inputGradient, leaky, type Source, TILES } from './conv3d-passes.ts';
import { flat, offsets, perVoxel, volume, WG } from './launch.ts';

const dwKernel = kernel('conv3d_dw', dwSource);
const dwSumKernel = kernel('conv3d_dw_sum', dwSumSource);
const replicatePadDxKernel = kernel('replicate_pad_dx', replicatePadDxSource);

/** Chunks of voxels that the weight gradient is split over, at most. */
const CHUNKS = 64;
/**
 * Walks of an invocation of the weight gradient along its columns, at least: adding up a workgroup's sums takes a CPU as long as several.
 */
const LEAST: Record<Processor, number> = { cpu: 8, gpu: 1 };

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

function resolve(options: ConvOptions): Attrs {
  checkOptions('conv3d', options, Object.keys(allowed));
  for (const [key, value] of Object.entries(options)) {
    if (!allowed[key as keyof ConvOptions]!(value))
      throw new Error(
        `conv3d: ${key} = ${value} is not offered; stride is 1 or 2, padding zero or replicate, activation none or leakyRelu, slope ≥ 0`,
      );
  }
  const { slope, activation } = options;
  if (slope !== undefined && activation !== 'leakyRelu')
    throw new Error(`conv3d: slope = ${slope} is that of activation leakyRelu; give both`);
  return { ...defaults, ...options };
}

/** Inputs of the op: w, b where there is one, and the volumes, whose channels lie one behind the other. */
function operands([w, ...rest]: readonly Tensor[], biased: boolean): { w: Tensor; b?: Tensor; sources: Source[] } {
  const xs = rest.slice(biased ? 1 : 0);
  const from = offsets(xs.map((x) => x.shape[1]));
  return { w, b: biased ? rest[0] : undefined, sources: xs.map((x, i) => ({ x, from: from[i] })) };
}

/** Weights are f32; the volumes share a dtype, which is the result's. */
function storage(weights: readonly DType[], volumes: readonly DType[]): DType {
  if (weights.includes('f16')) throw new Error('conv3d: w and bias are stored as f32, got f16; cast them');
  return oneDtype(volumes);
}

const convOp: Op<Attrs & { biased: boolean }> = {
  name: 'conv3d',
  shape([w, ...rest], { stride, biased }) {
    const b = biased ? rest[0] : undefined,
      xs = rest.slice(biased ? 1 : 0);
    const { n, d, h, w: width } = volume('conv3d', 'x', xs[0]);
    const told = `x ${xs.map(show).join(' and ')}, w ${show(w)}`;
    const [outputs, inputs, ...taps] = w;
    if (xs.some((x) => x.length !== 5 || !sameShape([n, d, h, width], [x[0], ...x.slice(2)])))
      throw new Error(`conv3d: all sizes but the channels must agree, got ${told}`);
    if (w.length !== 5 || taps.some((k) => k !== taps[0]) || !ACROSS[taps[0]])
      throw new Error(`conv3d: w must be [Co, Ci, K, K, K] with K = 1, 3 or 5, got ${show(w)}`);
    if (inputs !== xs.reduce((c, x) => c + x[1], 0)) throw new Error(`conv3d: w expects Ci=${inputs}, got ${told}`);
    if (b && (b.length !== 1 || b[0] !== outputs)) throw new Error(`conv3d: bias must be [${outputs}], got ${show(b)}, w ${show(w)}`);
    return [[n, outputs, ...[d, h, width].map((size) => Math.ceil(size / stride))]];
  },
  dtype: ([w, ...rest], { biased }) => storage([w, ...(biased ? [rest[0]] : [])], rest.slice(biased ? 1 : 0)),
  launch(node) {
    const { stride, padding, activation, slope, biased } = node.attrs;
    const { w, b, sources } = operands(node.inputs, biased);
    return convolve(node, sources, w, node.outputs[0], {
      stride,
      pad: w.shape[2] >> 1,
      replicate: padding === 'replicate',
      bias: b,
      activation: activation === 'none' ? undefined : leaky(slope),
    });
  },
  vjp({ inputs, outputs: [y], cotangents: [dy], wanted, attrs }) {
    const { w, b, sources } = operands(inputs, attrs.biased);
    const g = attrs.activation === 'none' ? dy! : activationDx(y, dy!, leaky(attrs.slope));
    // Weights first: what only they need is free before the larger gradients are made.
    const weights = wanted[0] || (b && wanted[1]);
    const [dw, db] = weights ? w.graph.apply(convDwOp, [g, ...sources.map(({ x }) => x)], { ...attrs, k: w.shape[2] }) : [];
    const first = inputs.length - sources.length;
    const dxs = sources.map(({ x, from }, i) =>
      wanted[first + i] ? trace(convDxOp, [g, w], { ...attrs, shape: x.shape, from }) : undefined,
    );
    return [dw, ...(b ? [db] : []), ...dxs];
  },
};

/**
 * 3-D convolution (cross-correlation, as PyTorch's conv3d) of x [N, Ci, D, H, W] with w [Co, Ci, K, K, K], K = 1, 3 or 5, plus bias [Co],
 * padded by K>>1 voxels: [N, Co, ⌈D/stride⌉, ⌈H/stride⌉, ⌈W/stride⌉]. Bias and activation cost no pass of their own. Several x count as
 * one with their channels joined, which is never made.
 */
export function conv3d(x: Tensor | readonly Tensor[], w: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  const xs = 'graph' in x ? [x] : x;
  if (!xs.length) throw new Error('conv3d: no x to convolve');
  return trace(convOp, [w, ...(bias ? [bias] : []), ...xs], { ...resolve(options), biased: bias !== undefined });
}

const convDxOp: Op<Attrs & { shape: Shape; from: number }> = {
  name: 'conv3dDx',
  shape: (_, { shape }) => [shape],
  dtype: ([dy]) => dy,
  launch(node) {
    const {
      inputs: [dy, w],
      outputs: [dx],
      attrs: { stride, padding, from },
    } = node;
    const k = w.shape[2],
      pad = k >> 1;
    if (padding === 'zero' || pad === 0) return inputGradient(node, dy, w, dx, stride, pad, from);
    const { n, c, d, h, w: width } = volume('conv3d', 'x', dx.shape);
    const padded = node.workspace('padded', [n, c, d + 2 * pad, h + 2 * pad, width + 2 * pad], dx.dtype);
    const { constants, groups } = perVoxel(width, h, n * c * d, node.processor);
    return [
      ...inputGradient(node, dy, w, padded, stride, 0, from),
      {
        kernel: replicatePadDxKernel,
        constants: { ...constants, PAD: pad },
        groups,
        bindings: { g: padded, dx },
        params: { w: width, h, d },
      },
    ];
  },
};

const convDwOp: Op<Attrs & { k: number }> = {
  name: 'conv3dDw',
  dtype: (volumes) => (oneDtype(volumes), 'f32'),
  shape: ([dy, ...xs], { k }) => [[dy[1], xs.reduce((c, x) => c + x[1], 0), k, k, k], [dy[1]]],
  launch(node) {
    const {
      inputs: [dy, ...xs],
      outputs: [dw, db],
      attrs: { stride, padding, k },
    } = node;
    const to = volume('conv3d', 'dy', dy.shape);
    const { inputs: tile } = TILES[node.processor][k];
    const across = ACROSS[k] / Math.min(ACROSS[k], stride); // a stride spreads what they read of x
    const lanes = across === 4 && to.w % 4 === 0 ? 4 : 1;
    const row = (across - 1) * stride + k; // of x, for the columns' taps
    const columns = to.n * to.d * Math.ceil(to.w / across),
      groups = Math.ceil(columns / WG);
    const chunksOn = (processor: Processor) => Math.ceil(groups / Math.max(LEAST[processor], Math.ceil(groups / CHUNKS)));
    const chunks = chunksOn(node.processor); // every chunk walks along as many columns
    const weights = numel(dw.shape),
      length = weights + to.c;
    const partials = node.workspace('partials', [chunksOn('gpu'), length]); // the most of them, so that memory does not depend on the processor
    const total = (y: Tensor, first: number): Dispatch => {
      const count = numel(y.shape);
      return { kernel: dwSumKernel, ...flat(count), bindings: { partials, y }, params: { count, chunks, length, first } };
    };
    const first = offsets(xs.map((x) => x.shape[1]));
    const parts = xs.map((x, i): Dispatch => {
      const from = volume('conv3d', 'x', x.shape);
      return {
        kernel: dwKernel,
        groups: [k * Math.ceil(from.c / tile) * Math.ceil(to.c / 4), chunks, 1],
        bindings: { x, x_lanes: x, dy, partials },
        constants: {
          WG,
          K: k,
          STRIDE: stride,
          PAD: k >> 1,
          TILE: tile,
          ACROSS: across,
          LANES: lanes,
          ROW: row,
          FIRST: lanes > 1 ? k >> 1 : 0,
          LAST: lanes > 1 ? (k >> 1) + across : 0,
          KEPT: Math.max(0, k - stride),
          REPLICATE: padding === 'replicate',
        },
        params: {
          columns,
          w: to.w,
          h: to.h,
          d: to.d,
          x_w: from.w,
          x_h: from.h,
          x_d: from.d,
          inputs: from.c,
          outputs: to.c,
          first: first[i],
          row: dw.shape[1],
        },
      };
    });
    return [...parts, total(dw, 0), total(db, weights)];
  },
};
