// How a convolution is cut into passes: each takes as many channels as fit a uniform buffer of weights, which are packed for it first.
import convSource from '../../kernels/conv3d.wgsl';
import dxSource from '../../kernels/conv3d_dx.wgsl';
import packSource from '../../kernels/conv3d_pack.wgsl';
import { type Constants, kernel, UNIFORM_BYTES } from '../gpu/kernel.ts';
import { type Dispatch, type Launch, numel, type Processor, type Tensor } from '../graph/graph.ts';
import { type Activation, activationConstants } from './activation.ts';
import { flat, volume, WG } from './launch.ts';

const convKernel = kernel('conv3d', convSource);
const dxKernel = kernel('conv3d_dx', dxSource);
const packKernel = kernel('conv3d_pack', packSource);

/** How a convolution is tiled. */
interface Tile {
  /** Voxels along W that an invocation computes, for up to CHANNELS output channels. */
  run: number;
  /** The same for up to FEW output channels: fewer sums a voxel leave registers for more voxels. */
  runOfFew: number;
  /** Input channels whose weights lie in workgroup memory at a time; 0: all are read from a uniform buffer. */
  stage: number;
  /** Input channels that a workgroup of the weight gradient covers. */
  inputs: number;
}
/** By kernel size, on a CPU: found on lavapipe. */
const ON_CPU: Record<number, Tile> = {
  1: { run: 8, runOfFew: 16, stage: 0, inputs: 4 },
  3: { run: 16, runOfFew: 20, stage: 0, inputs: 2 },
  5: { run: 4, runOfFew: 8, stage: 0, inputs: 1 },
};
/**
 * The same on a GPU: found on an H100, 3³, 16 → 16, at 80 × 96 × 112. Of 4 and 8 voxels it reaches 51 and 45 % of its peak: few registers,
 * and so many workgroups at a time, are worth more than fewer loads. More than 4 channels of weights take the room of its first cache, and
 * half of the speed. Rows of other kernel sizes are by analogy.
 */
const ON_GPU: Record<number, Tile> = {
  1: { run: 4, runOfFew: 4, stage: 16, inputs: 4 },
  3: { run: 4, runOfFew: 8, stage: 2, inputs: 2 },
  5: { run: 4, runOfFew: 4, stage: 1, inputs: 1 },
};
export const TILES: Record<Processor, Record<number, Tile>> = { cpu: ON_CPU, gpu: ON_GPU };
/** Columns side by side, of stride 1, that an invocation of the weight gradient walks along, by kernel size: memory depends on them. */
export const ACROSS: Record<number, number> = { 1: 4, 3: 4, 5: 2 };
const FEW = 8;
/** Invocations of a workgroup of the forward kernel. */
const GROUP: Record<Processor, number> = { cpu: WG, gpu: 2 * WG };
/** The longest run, by stride: Mesa unrolls short loops only, and an invocation reads (run − 1) · stride + K values. */
const LONGEST_RUN: Record<number, number> = { 1: 20, 2: 12 };
/** Voxels that an invocation of the input gradient of stride 2 makes, and those where there are few channels. */
const DX_RUN: Record<Processor, number> = { cpu: 8, gpu: 4 };
const DX_RUN_OF_FEW: Record<Processor, number> = { cpu: 16, gpu: 4 };
/** Output channels of one pass, at most. */
const CHANNELS = 16;

/** Voxels of a run, a multiple of 4 up to `most`, so that as few as possible lie beyond the last of n. */
const evenly = (n: number, most: number) => 4 * Math.ceil(n / Math.ceil(n / most) / 4);

/** How convolutions are launched, as `deqreg info` prints it: [what, how]. */
export const tiling = (processor: Processor): [string, string][] =>
  Object.entries(TILES[processor]).map(([k, { run, runOfFew, stage, inputs }]) => [
    `conv3d ${k}×${k}×${k}`,
    [
      `${CHANNELS} channels × up to ${run} voxels an invocation, ${FEW} or fewer × ${runOfFew}`,
      stage ? `weights of ${stage} channels in workgroup memory` : 'weights from a uniform buffer',
      `weight gradient ${inputs} × 4 channels × ${ACROSS[Number(k)]} columns`,
    ].join('; '),
  ]);

export const leaky = (slope: number): Activation => ({ f: 'leakyRelu', negative: slope });

/** What a convolution reads: a volume, and the channel of the weights that its first channel meets. */
export interface Source {
  x: Tensor;
  from: number;
}

interface Convolution {
  stride: number;
  pad: number;
  replicate?: boolean;
  bias?: Tensor;
  activation?: Activation;
  /** Over the transposed and mirrored weights; y then holds the gradient of the weights' inputs from this one on. */
  gradientFrom?: number;
}

/** The forward kernel's passes. */
export function convolve(
  node: Launch<unknown>,
  sources: readonly Source[],
  w: Tensor,
  y: Tensor,
  { stride, pad, replicate = false, bias, activation, gradientFrom }: Convolution,
): Dispatch[] {
  const to = volume('conv3d', 'y', y.shape);
  const k = w.shape[2];
  const { run: ofMany, runOfFew, stage } = TILES[node.processor][k];
  const run = evenly(to.w, Math.min(to.c > FEW ? ofMany : runOfFew, LONGEST_RUN[stride]));
  const count = Math.ceil(to.w / run) * to.h * to.d;
  const { constants, groups } = flat(count, to.n, GROUP[node.processor]);
  return passes(node, w, sources, y, { mirror: gradientFrom !== undefined, gradientFrom }, (pass, packed) => {
    const from = volume('conv3d', 'x', pass.x.shape);
    const fours = to.w % 4 === 0 && from.w === to.w * stride && (to.w % run === 0 || !replicate);
    const span = (run - 1) * stride + k;
    const first = fours ? pad : 0; // read one by one, as what is left at the end
    return {
      kernel: convKernel,
      groups,
      bindings: { x: pass.x, x_lanes: pass.x, w: packed, w_all: packed, b: bias ?? w, y },
      constants: {
        ...constants,
        ...pass.constants,
        K: k,
        STRIDE: stride,
        PAD: pad,
        RUN: run,
        LANES: fours ? 4 : 1,
        SPAN: span,
        FIRST: first,
        LAST: fours ? first + 4 * Math.floor((span - first) / 4) : span,
        AHEAD: node.processor === 'gpu',
        ...(stage ? { WEIGHTS: 'staged', STAGE: stage * k * k } : { WEIGHTS: 'uniform' }),
        REPLICATE: replicate,
        BIAS: bias !== undefined && pass.last,
        ACTIVATE: activation !== undefined && pass.last,
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
      },
    };
  });
}

interface Pass {
  x: Tensor;
  last: boolean;
  constants: Constants;
  params: { first_in: number; channels: number; first_out: number };
}

/**
 * Splits a convolution into passes whose weights fit a uniform buffer: for each, the packing of the weights and the launch that uses them.
 */
function passes(
  node: Launch<unknown>,
  w: Tensor,
  sources: readonly Source[],
  y: Tensor,
  { mirror, gradientFrom }: { mirror: boolean; gradientFrom?: number },
  launch: (pass: Pass, packed: Tensor) => Dispatch,
): Dispatch[] {
  const taps = numel(w.shape.slice(2)),
    outputs = y.shape[1];
  const dispatches: Dispatch[] = [];
  for (let first_out = 0; first_out < outputs; first_out += CHANNELS) {
    const vectors = Math.ceil(Math.min(CHANNELS, outputs - first_out) / 4);
    const most = Math.floor(UNIFORM_BYTES / (16 * vectors * taps));
    const parts = sources.flatMap(({ x, from }) =>
      Array.from({ length: Math.ceil(x.shape[1] / most) }, (_, i) => ({ x, from, first_in: i * most })),
    );
    parts.forEach(({ x, from, first_in }, i) => {
      const channels = Math.min(most, x.shape[1] - first_in);
      const count = channels * taps * vectors;
      const packed = node.workspace('packed', [4 * count]);
      const { constants, groups } = flat(count);
      const offset = gradientFrom ?? 0;
      dispatches.push(
        {
          kernel: packKernel,
          constants: { ...constants, TRANSPOSE: gradientFrom !== undefined, FLIP: mirror },
          groups,
          bindings: { w, packed },
          params: {
            count,
            taps,
            vectors,
            row: w.shape[1],
            first_in: from + first_in,
            first_out: offset + first_out,
            end_out: offset + outputs,
          },
        },
        launch(
          {
            x,
            last: i === parts.length - 1,
            params: { first_in, channels, first_out },
            constants: { VECTORS: vectors, TAP_ROWS: count / (vectors * w.shape[2]), ACCUMULATE: i > 0 },
          },
          packed,
        ),
      );
    });
  }
  return dispatches;
}

/**
 * The gradient in a volume that reaches `pad` voxels less far than the taps, for the weights' inputs `from` on: at stride 1 a convolution.
 */
export function inputGradient(
  node: Launch<unknown>,
  dy: Tensor,
  w: Tensor,
  dx: Tensor,
  stride: number,
  pad: number,
  from: number,
): Dispatch[] {
  const k = w.shape[2],
    sources = [{ x: dy, from: 0 }];
  if (stride === 1) return convolve(node, sources, w, dx, { stride, pad: k - 1 - pad, gradientFrom: from });
  const source = volume('conv3d', 'dy', dy.shape),
    to = volume('conv3d', 'dx', dx.shape);
  const half = (n: number) => Math.ceil(n / 2);
  const run = (to.c > FEW ? DX_RUN : DX_RUN_OF_FEW)[node.processor];
  const count = half(to.w) * Math.ceil(half(to.h) / run) * half(to.d);
  const { constants, groups } = flat(count, 8 * to.n, WG);
  return passes(node, w, sources, dx, { mirror: false, gradientFrom: from }, (pass, packed) => ({
    kernel: dxKernel,
    groups,
    bindings: { dy, w: packed, dx },
    constants: { ...constants, ...pass.constants, K: k, PAD: pad, RUN: run },
    params: {
      ...pass.params,
      count,
      w: to.w,
      h: to.h,
      d: to.d,
      y_w: source.w,
      y_h: source.h,
      y_d: source.d,
      inputs: source.c,
      outputs: to.c,
    },
  }));
}
