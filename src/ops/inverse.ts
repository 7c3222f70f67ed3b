// The inverse of a displacement, every voxel by itself.
import inverseSource from '../../kernels/inverse.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Op, sameShape, show, type Tensor } from '../graph/graph.ts';
import { flatPlanes, volume } from './launch.ts';
import { checkWarp, type Matrix, warpParams } from './warp.ts';

const inverseKernel = kernel('inverse', inverseSource);

interface InverseAttrs {
  size: readonly [number, number, number];
  matrix: Matrix;
  tolerance: number;
  iterations: number;
}

const inverseOp: Op<InverseAttrs> = {
  name: 'inverse',
  shape(components, { size, matrix }) {
    for (const u of components) {
      checkWarp('inverse', u, [1, 3, ...size], matrix);
      volume('inverse', 'a component of u', u, 1);
      if (!sameShape(u, components[0])) throw new Error(`inverse: components ${components.map(show).join(', ')} differ in shape`);
    }
    return Array(2).fill([1, 3, ...size]);
  },
  launch({
    inputs: [u_w, u_h, u_d],
    outputs: [v, r],
    attrs: {
      size: [d, h, w],
      matrix,
      tolerance,
      iterations,
    },
  }) {
    const { channels: _, ...params } = warpParams(u_w.shape, v.shape, matrix);
    const { constants, groups } = flatPlanes(w * h, d);
    return [
      {
        kernel: inverseKernel,
        constants,
        groups,
        bindings: { u_w, u_h, u_d, v, r },
        params: { ...params, tolerance, iterations },
      },
    ];
  },
};

/**
 * The displacement v [1, 3, D, H, W] back through that of u, on a grid of size [D, H, W], and the residual v(p) + u(M·(p + v(p))) of the
 * same shape that is left, 0 where v is exact. u by its components along (w, h, d), each [1, 1, Di, Hi, Wi], trilinear, border clamped; all
 * in voxels of v's grid, which `matrix` M maps to u's. Damped Newton steps from −u at each voxel, until the residual is no longer than
 * `tolerance`, or so many iterations, those that halve a step among them. No VJP.
 */
export function inverse(
  u: readonly [Tensor, Tensor, Tensor],
  size: readonly [number, number, number],
  matrix: Matrix,
  { tolerance, iterations }: { tolerance: number; iterations: number },
): { v: Tensor; residual: Tensor } {
  const [v, residual] = u[0].graph.apply(inverseOp, u, { size, matrix, tolerance, iterations });
  return { v, residual };
}
