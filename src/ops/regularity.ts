// How smooth a displacement is: diffusion energy, central differences, Jacobian determinant, and their gradients.
import diffusionSource from '../../kernels/diffusion.wgsl';
import diffusionDuSource from '../../kernels/diffusion_du.wgsl';
import gradientSource from '../../kernels/gradient.wgsl';
import gradientDxSource from '../../kernels/gradient_dx.wgsl';
import jacobianSource from '../../kernels/jacobian_determinant.wgsl';
import jacobianDuSource from '../../kernels/jacobian_determinant_du.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Op, type Shape, type Tensor, trace } from '../graph/graph.ts';
import { type PerAxis, perAxis } from './filter.ts';
import { perVoxel, RUN, volume } from './launch.ts';
import { finish } from './reduce.ts';

const diffusionKernel = kernel('diffusion', diffusionSource);
const diffusionDuKernel = kernel('diffusion_du', diffusionDuSource);
const gradientKernel = kernel('gradient', gradientSource);
const gradientDxKernel = kernel('gradient_dx', gradientDxSource);
const jacobianKernel = kernel('jacobian_determinant', jacobianSource);
const jacobianDuKernel = kernel('jacobian_determinant_du', jacobianDuSource);

interface DiffusionAttrs {
  weights: readonly [number, number, number];
}

function diffusionParams(shape: Shape, weights: readonly [number, number, number]) {
  const { n, c, d, h, w } = volume('diffusion', 'u', shape);
  const scale = (weight: number, length: number) => (length > 1 ? (weight * length) / (n * c * d * h * w) / (length - 1) : 0);
  return { w, h, d, scale_w: scale(weights[0], w), scale_h: scale(weights[1], h), scale_d: scale(weights[2], d) };
}

const diffusionOp: Op<DiffusionAttrs> = {
  name: 'diffusion',
  shape([u]) {
    volume('diffusion', 'u', u);
    return [[1]];
  },
  launch(node) {
    const {
      inputs: [u],
      outputs: [y],
      attrs: { weights },
    } = node;
    const { n, c, d, h, w } = volume('diffusion', 'u', u.shape);
    const runs = Math.ceil(d / RUN);
    const { constants, groups } = perVoxel(w, h, n * c * runs); // the same on every processor: each leaves a sum in memory
    const partials = node.workspace('partials', [groups[0] * groups[1] * groups[2]]);
    return [
      {
        kernel: diffusionKernel,
        constants: { ...constants, RUN },
        groups,
        bindings: { u, partials },
        params: { ...diffusionParams(u.shape, weights), runs },
      },
      finish(node.processor, partials, y),
    ];
  },
  vjp: ({ inputs: [u], cotangents: [dy], attrs }) => [trace(diffusionDuOp, [u, dy!], attrs)],
};

const diffusionDuOp: Op<DiffusionAttrs> = {
  name: 'diffusionDu',
  shape: ([u]) => [u],
  launch({ inputs: [u, dy], outputs: [du], attrs: { weights }, processor }) {
    const { n, c, d, h, w } = volume('diffusion', 'u', u.shape);
    return [
      {
        kernel: diffusionDuKernel,
        ...perVoxel(w, h, n * c * d, processor),
        bindings: { u, dy, du },
        params: diffusionParams(u.shape, weights),
      },
    ];
  },
};

/** Diffusion regulariser Σ_axis weight · mean((u(p + e) − u(p))²), shape [1]; u [N, C, D, H, W] in voxels, weights (w, h, d). */
export const diffusion = (u: Tensor, weights: PerAxis = 1): Tensor => trace(diffusionOp, [u], { weights: perAxis(weights) });

const gradientOp: Op<object> = {
  name: 'gradient',
  shape([x]) {
    const { n, c, d, h, w } = volume('gradient', 'x', x);
    return [[n, 3 * c, d, h, w]];
  },
  launch({ inputs: [x], outputs: [y], processor }) {
    const { n, c, d, h, w } = volume('gradient', 'x', x.shape);
    return [{ kernel: gradientKernel, ...perVoxel(w, h, n * c * d, processor), bindings: { x, y }, params: { w, h, d } }];
  },
  vjp: ({ cotangents: [dy] }) => [trace(gradientDxOp, [dy!], {})],
};

const gradientDxOp: Op<object> = {
  name: 'gradientDx',
  shape([dy]) {
    const { n, c, d, h, w } = volume('gradientDx', 'dy', dy);
    return [[n, c / 3, d, h, w]];
  },
  launch({ inputs: [dy], outputs: [dx], processor }) {
    const { n, c, d, h, w } = volume('gradientDx', 'dx', dx.shape);
    return [{ kernel: gradientDxKernel, ...perVoxel(w, h, n * c * d, processor), bindings: { dy, dx }, params: { w, h, d } }];
  },
  vjp: ({ cotangents: [dx] }) => [trace(gradientOp, [dx!], {})],
};

/** Central differences (one-sided at the border) per voxel: [N, C, D, H, W] → [N, 3C, D, H, W], channels c·3 + (w, h, d). */
export const gradient = (x: Tensor): Tensor => trace(gradientOp, [x], {});

const jacobianOp: Op<object> = {
  name: 'jacobianDeterminant',
  shape([u]) {
    const { n, d, h, w } = volume('jacobianDeterminant', 'u', u, 3);
    return [[n, 1, d, h, w]];
  },
  launch({ inputs: [u], outputs: [y], processor }) {
    const { n, d, h, w } = volume('jacobianDeterminant', 'u', u.shape);
    return [{ kernel: jacobianKernel, ...perVoxel(w, h, n * d, processor), bindings: { u, y }, params: { w, h, d } }];
  },
  vjp: ({ inputs: [u], cotangents: [dy] }) => [trace(jacobianDuOp, [u, dy!], {})],
};

const jacobianDuOp: Op<object> = {
  name: 'jacobianDeterminantDu',
  shape: ([u]) => [u],
  launch({ inputs: [u, dy], outputs: [du], processor }) {
    const { n, d, h, w } = volume('jacobianDeterminant', 'u', u.shape);
    return [{ kernel: jacobianDuKernel, ...perVoxel(w, h, n * d, processor), bindings: { u, dy, du }, params: { w, h, d } }];
  },
};

/** det(I + ∇u), the local volume change of p + u(p): [N, 3, D, H, W] in voxels → [N, 1, D, H, W]. ≤ 0 is a fold. */
export const jacobianDeterminant = (u: Tensor): Tensor => trace(jacobianOp, [u], {});
