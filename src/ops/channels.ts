// Channels: joining, cutting, repeating and summing, which are each other's adjoints.
import copySource from '../../kernels/copy_channels.wgsl';
import sumChannelsSource from '../../kernels/sum_channels.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Op, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { fillWith, flat, flatItems, offsets } from './launch.ts';

const copyKernel = kernel('copy_channels', copySource);
const sumChannelsKernel = kernel('sum_channels', sumChannelsSource);

/** One launch that copies `count` channels of x, from channel `from` of `of`, to channels of y (repeating the first one with `expand`). */
export function copy(
  x: Tensor,
  y: Tensor,
  spatial: number,
  n: number,
  source: { from: number; of: number },
  target: { to: number; of: number },
  count: number,
  expand = false,
): Dispatch {
  const { constants, groups, count: items } = flatItems(spatial, n * count);
  return {
    kernel: copyKernel,
    constants: { ...constants, EXPAND: expand },
    groups,
    bindings: { x, y },
    params: {
      spatial: items,
      count,
      from_channel: source.from,
      from_channels: source.of,
      to_channel: target.to,
      to_channels: target.of,
    },
  };
}

const spatialOf = (shape: Shape) => numel(shape.slice(2));

const concatOp: Op<object> = {
  name: 'concat',
  recompute: true,
  shape(shapes) {
    const [first] = shapes;
    const fits = shapes.every((s) => s.length >= 2 && s.length === first.length && s.every((n, i) => i === 1 || n === first[i]));
    if (!fits) throw new Error(`concat: all sizes but the channels must agree, got ${shapes.map(show).join(', ')}`);
    return [[first[0], shapes.reduce((c, s) => c + s[1], 0), ...first.slice(2)]];
  },
  launch({ inputs, outputs: [y] }) {
    const to = offsets(inputs.map((x) => x.shape[1]));
    return inputs.map((x, i) => {
      const c = x.shape[1];
      return copy(x, y, spatialOf(x.shape), x.shape[0], { from: 0, of: c }, { to: to[i], of: y.shape[1] }, c);
    });
  },
  vjp({ inputs, cotangents: [dy], wanted }) {
    const at = offsets(inputs.map((x) => x.shape[1]));
    return inputs.map((x, i) => (wanted[i] ? slice(dy!, at[i], x.shape[1]) : undefined));
  },
};

/** Joins tensors along the channels. */
export const concat = (...xs: Tensor[]): Tensor => trace(concatOp, xs, {});

const sliceOp: Op<{ start: number; count: number }> = {
  name: 'slice',
  shape([x], { start, count }) {
    if (x.length < 2 || start < 0 || count < 1 || start + count > x[1])
      throw new Error(`slice: channels ${start} to ${start + count - 1} are not all in ${show(x)}`);
    return [[x[0], count, ...x.slice(2)]];
  },
  launch({ inputs: [x], outputs: [y], attrs: { start, count } }) {
    return [copy(x, y, spatialOf(x.shape), x.shape[0], { from: start, of: x.shape[1] }, { to: 0, of: count }, count)];
  },
  vjp({ inputs: [x], cotangents: [dy], attrs: { start } }) {
    return [trace(padOp, [dy!], { start, channels: x.shape[1] })];
  },
};

/** Channels start … start + count − 1. */
export const slice = (x: Tensor, start: number, count: number): Tensor => trace(sliceOp, [x], { start, count });

/** Cuts a tensor along the channels into pieces of the given sizes. */
export function split(x: Tensor, sizes: readonly number[]): Tensor[] {
  if (sizes.reduce((a, b) => a + b, 0) !== x.shape[1])
    throw new Error(`split: sizes ${sizes.join('+')} are not the ${x.shape[1]} channels of ${show(x.shape)}`);
  const starts = offsets(sizes);
  return sizes.map((count, i) => slice(x, starts[i], count));
}

const padOp: Op<{ start: number; channels: number }> = {
  name: 'pad',
  shape: ([x], { channels }) => [[x[0], channels, ...x.slice(2)]],
  launch({ inputs: [x], outputs: [y], attrs: { start, channels } }) {
    return [
      fillWith(y, 0),
      copy(x, y, spatialOf(x.shape), x.shape[0], { from: 0, of: x.shape[1] }, { to: start, of: channels }, x.shape[1]),
    ];
  },
  vjp: ({ inputs: [x], cotangents: [dy], attrs: { start } }) => [slice(dy!, start, x.shape[1])],
};

const expandOp: Op<{ channels: number }> = {
  name: 'expandChannels',
  shape([x], { channels }) {
    if (x.length < 2 || x[1] !== 1) throw new Error(`expandChannels: needs [N, 1, …], got ${show(x)}`);
    return [[x[0], channels, ...x.slice(2)]];
  },
  launch({ inputs: [x], outputs: [y], attrs: { channels } }) {
    return [copy(x, y, spatialOf(x.shape), x.shape[0], { from: 0, of: 1 }, { to: 0, of: channels }, channels, true)];
  },
  vjp: ({ cotangents: [dy] }) => [sumChannels(dy!)],
};

/** Repeats a single channel: [N, 1, …] → [N, channels, …]. */
export const expandChannels = (x: Tensor, channels: number): Tensor => trace(expandOp, [x], { channels });

const sumChannelsOp: Op<object> = {
  name: 'sumChannels',
  shape([x]) {
    if (x.length < 2) throw new Error(`sumChannels: needs [N, C, …], got ${show(x)}`);
    return [[x[0], 1, ...x.slice(2)]];
  },
  launch({ inputs: [x], outputs: [y] }) {
    const spatial = numel(x.shape.slice(2));
    return [
      {
        kernel: sumChannelsKernel,
        ...flat(spatial, x.shape[0]),
        bindings: { x, y },
        params: { spatial, channels: x.shape[1] },
      },
    ];
  },
  vjp: ({ inputs: [x], cotangents: [dy] }) => [expandChannels(dy!, x.shape[1])],
};

/** Sum over the channels: [N, C, …] → [N, 1, …]. */
export const sumChannels = (x: Tensor): Tensor => trace(sumChannelsOp, [x], {});
