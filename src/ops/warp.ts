// Sampling: warp an image by a displacement, compose displacements, and the gradients of both.
import warpFullSource from '../../kernels/warp_full.wgsl';
import composeSource from '../../kernels/compose.wgsl';
import integerSumsSource from '../../kernels/integer_sums_value.wgsl';
import warpSource from '../../kernels/warp.wgsl';
import warpDimageSource from '../../kernels/warp_dimage.wgsl';
import warpDuSource from '../../kernels/warp_du.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Op, type Processor, sameShape, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { fillWith, flat, flatPlanes, volume } from './launch.ts';
import { add } from './pointwise.ts';
import { reduceTo } from './reduce.ts';

const warpKernel = kernel('warp', warpSource);
const warpDuKernel = kernel('warp_du', warpDuSource);
const warpDimageKernel = kernel('warp_dimage', warpDimageSource);
const integerSumsKernel = kernel('integer_sums_value', integerSumsSource);
const composeKernel = kernel('compose', composeSource);
const warpFullKernel = kernel('warp_full', warpFullSource);

/** 3×4, row-major: maps voxels (w, h, d) of the output grid to voxels of the image. */
export type Matrix = readonly number[];
export const identity: Matrix = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];

interface WarpAttrs {
  matrix: Matrix;
  nearest: boolean;
}

export function warpParams(image: Shape, u: Shape, matrix: Matrix) {
  const { c, d: image_d, h: image_h, w: image_w } = volume('warp', 'image', image);
  const { d, h, w } = volume('warp', 'u', u);
  return { image_w, image_h, image_d, channels: c, w, h, d, matrix };
}

/** Voxels in a row that an invocation samples from one channel. On a CPU four halve the time; a GPU's neighbours should read neighbours. */
const LANES: Record<Processor, number> = { cpu: 4, gpu: 1 };

/** How a warp is launched, as `deqreg info` prints it: [what, how]. */
export const warpTiling = (processor: Processor): [string, string] => ['warp', `${LANES[processor]} voxels in a row an invocation`];

export function checkWarp(op: string, image: Shape, u: Shape, matrix: Matrix): void {
  const a = volume(op, 'image', image),
    b = volume(op, 'u', u, 3);
  if (a.n !== b.n) throw new Error(`${op}: image ${show(image)} and u ${show(u)} differ in N`);
  checkMatrix(`${op}: matrix`, matrix);
}

function checkMatrix(what: string, matrix: Matrix): void {
  if (matrix.length !== 12 || !matrix.every(Number.isFinite)) throw new Error(`${what} needs 12 finite numbers, got [${matrix}]`);
}

const warpOp: Op<WarpAttrs> = {
  name: 'warp',
  shape([image, u], { matrix }) {
    checkWarp('warp', image, u, matrix);
    return [[u[0], image[1], ...u.slice(2)]];
  },
  launch({ inputs: [image, u], outputs: [y], attrs: { matrix, nearest }, processor }) {
    const { n, d, h, w } = volume('warp', 'u', u.shape);
    const { channels, ...params } = warpParams(image.shape, u.shape, matrix);
    const lanes = channels === 1 && w % 4 === 0 ? LANES[processor] : 1; // with more channels, four cells at once do not fit into registers
    const { constants, groups } = flatPlanes((w / lanes) * h, n * d);
    return [
      {
        kernel: warpKernel,
        constants: { ...constants, LANES: lanes, CHANNELS: channels, NEAREST: nearest, MOVES: true },
        groups,
        bindings: { image, u, y },
        params,
      },
    ];
  },
  vjp({ inputs: [image, u], cotangents: [dy], wanted, attrs: { matrix, nearest } }) {
    if (nearest) throw new Error('warp: nearest-neighbour sampling has no gradient');
    return [
      wanted[0] ? trace(warpDimageOp, [u, dy!], { matrix, shape: image.shape }) : undefined,
      wanted[1] ? trace(warpDuOp, [image, u, dy!], { matrix }) : undefined,
    ];
  },
};

/**
 * image [N, C, Di, Hi, Wi] sampled at M·(p + u(p)), trilinear, border clamped; u [N, 3, D, H, W] in voxels of its own grid. `matrix` M maps
 * the output grid's voxels to the image's (default: the same grid). Returns [N, C, D, H, W]. The gradient for the image is summed in steps
 * of 2⁻³⁰ of the largest |ȳ|, so that it is the same in every run. A u that is not finite samples some voxel of the image: look at u itself
 * for NaN.
 */
export const warp = (image: Tensor, u: Tensor, matrix: Matrix = identity): Tensor => trace(warpOp, [image, u], { matrix, nearest: false });
/** As `warp`, nearest neighbour: for label maps. */
export const warpNearest = (image: Tensor, u: Tensor, matrix: Matrix = identity): Tensor =>
  trace(warpOp, [image, u], { matrix, nearest: true });

const resampleOp: Op<{ size: readonly [number, number, number]; matrix: Matrix }> = {
  name: 'resample',
  shape([image], { size, matrix }) {
    const { n, c } = volume('resample', 'image', image);
    checkWarp('resample', image, [n, 3, ...size], matrix);
    return [[n, c, ...size]];
  },
  launch({
    inputs: [image],
    outputs: [y],
    attrs: {
      size: [d, h, w],
      matrix,
    },
  }) {
    const { n } = volume('resample', 'image', image.shape);
    const { channels, ...params } = warpParams(image.shape, [n, 3, d, h, w], matrix);
    const { constants, groups } = flatPlanes(w * h, n * d);
    return [
      {
        kernel: warpKernel,
        // One voxel at a time: the image stands in for u, and may be smaller than a vector.
        constants: { ...constants, LANES: 1, CHANNELS: channels, NEAREST: false, MOVES: false },
        groups,
        bindings: { image, u: image, y },
        params,
      },
    ];
  },
};

/** image [N, C, …] on another grid of size [D, H, W] whose voxels `matrix` maps to the image's. Trilinear, border clamped. No VJP. */
export const resample = (image: Tensor, size: readonly [number, number, number], matrix: Matrix): Tensor =>
  trace(resampleOp, [image], { size, matrix });

const warpDuOp: Op<{ matrix: Matrix }> = {
  name: 'warpDu',
  shape: ([, u]) => [u],
  launch({ inputs: [image, u, dy], outputs: [du], attrs: { matrix } }) {
    const { n, d, h, w } = volume('warp', 'u', u.shape);
    const { channels, ...params } = warpParams(image.shape, u.shape, matrix);
    const { constants, groups } = flatPlanes(w * h, n * d);
    return [
      {
        kernel: warpDuKernel,
        constants: { ...constants, CHANNELS: channels },
        groups,
        bindings: { image, u, dy, du },
        params,
      },
    ];
  },
};

const warpDimageOp: Op<{ matrix: Matrix; shape: Shape }> = {
  name: 'warpDimage',
  shape: (_, { shape }) => [shape],
  launch(node): Dispatch[] {
    const {
      inputs: [u, dy],
      outputs: [dimage],
      attrs: { matrix, shape },
    } = node;
    const { n, d, h, w } = volume('warp', 'u', u.shape);
    const count = numel(shape);
    const largest = node.workspace('largest', [1]);
    const low = node.workspace('low', shape),
      high = node.workspace('high', shape);
    return [
      ...reduceTo(node, 'LARGEST', dy, dy, largest),
      fillWith(low, 0),
      fillWith(high, 0),
      {
        kernel: warpDimageKernel,
        ...flatPlanes(w * h, n * d),
        bindings: { u, dy, largest, low, high },
        params: warpParams(shape, u.shape, matrix),
      },
      { kernel: integerSumsKernel, ...flat(count), bindings: { low, high, largest, y: dimage }, params: { count } },
    ];
  },
};

const composeOp: Op<object> = {
  name: 'compose',
  shape([u, v]) {
    volume('compose', 'u', u, 3);
    if (!sameShape(u, v)) throw new Error(`compose: displacements ${show(u)} and ${show(v)} differ in shape`);
    return [u];
  },
  launch({ inputs: [u, v], outputs: [y] }) {
    const { n, d, h, w } = volume('compose', 'u', u.shape);
    return [{ kernel: composeKernel, ...flatPlanes(w * h, n * d), bindings: { u, v, y }, params: { w, h, d } }];
  },
  vjp({ inputs: [u, v], cotangents: [dy], wanted }) {
    return [
      wanted[0] ? trace(warpDimageOp, [v, dy!], { matrix: identity, shape: u.shape }) : undefined,
      wanted[1] ? add(dy!, trace(warpDuOp, [u, v, dy!], { matrix: identity })) : undefined,
    ];
  },
};

/**
 * The displacement v(p) + u(p + v(p)) of the map (id + u) ∘ (id + v); both [N, 3, D, H, W] in voxels. Its gradient for u is that of a
 * warp's image.
 */
export const compose = (u: Tensor, v: Tensor): Tensor => trace(composeOp, [u, v], {});

/** A box of voxels: its first one, and how many there are, along (d, h, w). */
export interface Box {
  first: readonly [number, number, number];
  size: readonly [number, number, number];
}

interface WarpFullAttrs {
  size: readonly [number, number, number];
  box: Box;
  transform: Matrix;
  matrix: Matrix;
  outside: number;
}

const warpFullOp: Op<WarpFullAttrs> = {
  name: 'warpFull',
  shape([v, image], { size, box, transform, matrix }) {
    const level = volume('warpFull', 'v', v, 3);
    checkWarp('warpFull', image, [1, 3, ...size], matrix);
    if (box.first.some((first, i) => first < 0 || first + box.size[i] > size[i]))
      throw new Error(`warpFull: a box of ${box.size.join('×')} from ${box.first.join(', ')} on is not all in ${size.join('×')}`);
    if (level.n !== 1 || box.size.some((n, i) => n < v[2 + i]))
      throw new Error(`warpFull: v ${show(v)} must be one field on a grid no finer than ${box.size.join('×')}`);
    checkMatrix('warpFull: transform', transform);
    return Array<Shape>(4).fill([1, 1, ...size]);
  },
  launch({
    inputs: [v, image],
    outputs: [dw, dh, dd, warped],
    attrs: {
      size: [d, h, w],
      box,
      transform,
      matrix,
      outside,
    },
  }) {
    const [level, from] = [volume('warpFull', 'v', v.shape), volume('warpFull', 'image', image.shape, 1)];
    return [
      {
        kernel: warpFullKernel,
        ...flatPlanes(w * h, d),
        bindings: { v, image, displacement_w: dw, displacement_h: dh, displacement_d: dd, warped },
        params: {
          level_w: level.w,
          level_h: level.h,
          level_d: level.d,
          image_w: from.w,
          image_h: from.h,
          image_d: from.d,
          w,
          h,
          d,
          box_w: box.size[2],
          box_h: box.size[1],
          box_d: box.size[0],
          first_w: box.first[2],
          first_h: box.first[1],
          first_d: box.first[0],
          matrices: [...transform, ...matrix],
          outside,
        },
      },
    ];
  },
};

/**
 * A level's displacement v [1, 3, d, h, w] on the full grid of size [D, H, W], of which the level covers a `box` (default: all), after it
 * an affine `transform` (voxels of the full grid): its components (w, h, d), each [1, 1, D, H, W], and the image they warp, `matrix`
 * leading from the full grid to the image's; `outside` is what they get from beyond its voxels. Beyond the box v goes on as at its border.
 * One pass; the field on the full grid is never stored as one buffer, which adapters may refuse. Has no VJP.
 */
export function warpFull(
  v: Tensor,
  image: Tensor,
  size: readonly [number, number, number],
  transform: Matrix,
  matrix: Matrix,
  outside: number,
  box: Box = { first: [0, 0, 0], size },
): { displacement: Tensor[]; warped: Tensor } {
  const [dw, dh, dd, warped] = v.graph.apply(warpFullOp, [v, image], { size, box, transform, matrix, outside });
  return { displacement: [dw, dh, dd], warped };
}
