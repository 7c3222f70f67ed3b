// Instance normalisation of features and weight normalisation of convolution kernels, with their gradients.
import instanceNormSource from '../../kernels/instance_norm.wgsl';
import instanceNormDxSource from '../../kernels/instance_norm_dx.wgsl';
import instanceNormMomentsSource from '../../kernels/instance_norm_moments.wgsl';
import instanceNormStatisticsSource from '../../kernels/instance_norm_statistics.wgsl';
import instanceNormSumsSource from '../../kernels/instance_norm_sums.wgsl';
import weightNormSource from '../../kernels/weight_norm.wgsl';
import weightNormDvSource from '../../kernels/weight_norm_dv.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Op, show, type Tensor, trace } from '../graph/graph.ts';
import { flat, volume, WG } from './launch.ts';
import { sumRows } from './reduce.ts';

const momentsKernel = kernel('instance_norm_moments', instanceNormMomentsSource);
const statisticsKernel = kernel('instance_norm_statistics', instanceNormStatisticsSource);
const normKernel = kernel('instance_norm', instanceNormSource);
const sumsKernel = kernel('instance_norm_sums', instanceNormSumsSource);
const dxKernel = kernel('instance_norm_dx', instanceNormDxSource);
const weightNormKernel = kernel('weight_norm', weightNormSource);
const weightNormDvKernel = kernel('weight_norm_dv', weightNormDvSource);

/** Workgroups that share an instance's voxels. */
const sharesOf = (voxels: number): number => Math.min(64, Math.ceil(voxels / WG));

const instanceNormOp: Op<{ epsilon: number }> = {
  name: 'instanceNorm',
  shape([x, ...affine], { epsilon }) {
    const { n, c, voxels } = volume('instanceNorm', 'x', x);
    if (voxels === 1) throw new Error(`instanceNorm: one voxel has no variance, got x ${show(x)}`);
    if (!(epsilon > 0)) throw new Error(`instanceNorm: epsilon must be above 0, got ${epsilon}`);
    const other = affine.find((s) => s.length !== 1 || s[0] !== c);
    if (other) throw new Error(`instanceNorm: gamma and beta must be [${c}] for x ${show(x)}, got ${show(other)}`);
    return [x, [n, c, 2]];
  },
  launch({ inputs: [x, gamma, beta], outputs: [y, statistics], attrs: { epsilon }, workspace }): Dispatch[] {
    const { n, c, voxels } = volume('instanceNorm', 'x', x.shape);
    const shares = sharesOf(voxels);
    const partials = workspace('partials', [n * c, shares, 3]);
    const { constants, groups } = flat(voxels, n * c);
    return [
      { kernel: momentsKernel, constants: { WG }, groups: [shares, n * c, 1], bindings: { x, partials }, params: { spatial: voxels } },
      {
        kernel: statisticsKernel,
        constants: { WG },
        groups: [n * c, 1, 1],
        bindings: { partials, statistics },
        params: { partials: shares, epsilon },
      },
      {
        kernel: normKernel,
        constants: { ...constants, AFFINE: !!gamma },
        groups,
        bindings: { x, statistics, gamma: gamma ?? x, beta: beta ?? x, y },
        params: { spatial: voxels, channels: c },
      },
    ];
  },
  vjp({ inputs: [x, gamma], outputs: [, statistics], cotangents: [dy] }) {
    const [sums, products] = x.graph.apply(sumsOp, [x, statistics, dy!], {});
    const dx = trace(dxOp, [x, statistics, dy!, sums, products, ...(gamma ? [gamma] : [])], {});
    return gamma ? [dx, trace(sumItemsOp, [products], {}), trace(sumItemsOp, [sums], {})] : [dx];
  },
};

/** Σdy and Σ(dy·x̂) over the voxels, both [N, C]. */
const sumsOp: Op<object> = {
  name: 'instanceNormSums',
  shape: ([x]) => [x.slice(0, 2), x.slice(0, 2)],
  launch({ inputs: [x, statistics, dy], outputs: [sums, products], workspace }): Dispatch[] {
    const { n, c, voxels } = volume('instanceNorm', 'x', x.shape);
    const shares = sharesOf(voxels);
    const partial = { sums: workspace('sums', [shares, n * c]), products: workspace('products', [shares, n * c]) };
    return [
      {
        kernel: sumsKernel,
        constants: { WG },
        groups: [shares, n * c, 1],
        params: { spatial: voxels },
        bindings: { x, statistics, dy, ...partial },
      },
      sumRows(partial.sums, sums, shares, n * c),
      sumRows(partial.products, products, shares, n * c),
    ];
  },
};

const dxOp: Op<object> = {
  name: 'instanceNormDx',
  shape: ([x]) => [x],
  launch({ inputs: [x, statistics, dy, sums, products, gamma], outputs: [dx] }) {
    const { n, c, voxels } = volume('instanceNorm', 'x', x.shape);
    const { constants, groups } = flat(voxels, n * c);
    return [
      {
        kernel: dxKernel,
        constants: { ...constants, AFFINE: !!gamma },
        groups,
        params: { spatial: voxels, channels: c },
        bindings: { x, statistics, dy, sums, products, gamma: gamma ?? x, dx },
      },
    ];
  },
};

/** [N, C] → [C] */
const sumItemsOp: Op<object> = {
  name: 'sumItems',
  shape: ([x]) => [[x[1]]],
  launch: ({ inputs: [x], outputs: [y] }) => [sumRows(x, y, x.shape[0], x.shape[1])],
};

/**
 * (x − mean)/sqrt(variance + epsilon) · gamma + beta, mean and (biased) variance over the voxels of each channel of each item of
 * x [N, C, D, H, W]; gamma and beta [C], both or neither. torch.nn.InstanceNorm3d; Ulyanov, Vedaldi & Lempitsky 2016.
 */
export function instanceNorm(x: Tensor, gamma?: Tensor, beta?: Tensor, epsilon = 1e-5): Tensor {
  if (!gamma !== !beta) throw new Error(`instanceNorm: gamma and beta come together, got only ${gamma ? 'gamma' : 'beta'}`);
  return trace(instanceNormOp, gamma && beta ? [x, gamma, beta] : [x], { epsilon });
}

const weightNormOp: Op<object> = {
  name: 'weightNorm',
  shape([v, g]) {
    const channels = v[0];
    if (numel(g) !== channels)
      throw new Error(`weightNorm: g needs one value for each of the ${channels} output channels of v ${show(v)}, got ${show(g)}`);
    return [v];
  },
  launch({ inputs: [v, g], outputs: [w] }) {
    const [channels, ...rest] = v.shape;
    return [
      {
        kernel: weightNormKernel,
        constants: { WG },
        groups: [channels, 1, 1],
        bindings: { v, g, w },
        params: { size: numel(rest) },
      },
    ];
  },
  vjp: ({ inputs: [v, g], cotangents: [dw] }) => v.graph.apply(weightNormDvOp, [v, g, dw!], {}),
};

const weightNormDvOp: Op<object> = {
  name: 'weightNormDv',
  shape: ([v, g]) => [v, g],
  launch({ inputs: [v, g, dw], outputs: [dv, dg] }) {
    const [channels, ...rest] = v.shape;
    return [
      {
        kernel: weightNormDvKernel,
        constants: { WG },
        groups: [channels, 1, 1],
        bindings: { v, g, dw, dv, dg },
        params: { size: numel(rest) },
      },
    ];
  },
};

/**
 * g · v/‖v‖ for each output channel of v [Co, …], the norm over all that follows; g has Co values, in any shape (PyTorch keeps
 * [Co, 1, 1, 1, 1]). torch.nn.utils.weight_norm with dim=0. A channel of zeros has no direction and gives NaN.
 */
export const weightNorm = (v: Tensor, g: Tensor): Tensor => trace(weightNormOp, [v, g], {});
