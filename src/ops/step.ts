// The soft-limited step of iterative methods.
import softNormalizeSource from '../../kernels/soft_normalize.wgsl';
import softNormalizeDxSource from '../../kernels/soft_normalize_dx.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Op, type Shape, type Tensor, trace } from '../graph/graph.ts';
import { type PerAxis, perAxis } from './filter.ts';
import { flatItems, volume } from './launch.ts';

const softNormalizeKernel = kernel('soft_normalize', softNormalizeSource);
const softNormalizeDxKernel = kernel('soft_normalize_dx', softNormalizeDxSource);

interface SoftAttrs {
  limit: number;
  epsilon: number;
  ratios: readonly [number, number, number];
}

function softParams(shape: Shape, { limit, epsilon, ratios: [ratio_w, ratio_h, ratio_d] }: SoftAttrs) {
  const { n, voxels } = volume('softNormalize', 'x', shape, 3);
  const { count: spatial, ...over } = flatItems(voxels, n);
  return { ...over, params: { spatial, limit, epsilon, ratio_w, ratio_h, ratio_d } };
}

const softNormalizeOp: Op<SoftAttrs> = {
  name: 'softNormalize',
  shape([x], { limit, epsilon }) {
    volume('softNormalize', 'x', x, 3);
    if (!(limit > 0) || !(epsilon > 0)) throw new Error(`softNormalize: limit and epsilon must be above 0, got ${limit}, ${epsilon}`);
    return [x];
  },
  launch: ({ inputs: [x], outputs: [y], attrs }) => [{ kernel: softNormalizeKernel, ...softParams(x.shape, attrs), bindings: { x, y } }],
  vjp: ({ inputs: [x], cotangents: [dy], attrs }) => [trace(softNormalizeDxOp, [x, dy!], attrs)],
};

const softNormalizeDxOp: Op<SoftAttrs> = {
  name: 'softNormalizeDx',
  shape: ([x]) => [x],
  launch: ({ inputs: [x, dy], outputs: [dx], attrs }) => [
    { kernel: softNormalizeDxKernel, ...softParams(x.shape, attrs), bindings: { x, dy, dx } },
  ],
};

/**
 * limit · r²x/sqrt(|r·x|² + ε²) over the channels of [N, 3, D, H, W]: a step along x never longer than `limit`, smooth in x. With
 * r = finest spacing/spacing along (w, h, d), x a force per voxel and y a step in voxels, the step is the same in mm on every grid.
 */
export const softNormalize = (x: Tensor, limit: number, epsilon: number, ratios: PerAxis = 1): Tensor =>
  trace(softNormalizeOp, [x], { limit, epsilon, ratios: perAxis(ratios) });
