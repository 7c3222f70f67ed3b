// Sampling an image and its gradient together, for forces that are continuous in the displacement.
import withGradientSource from '../../kernels/with_gradient.wgsl';
import warpWithGradientSource from '../../kernels/warp_with_gradient.wgsl';
import warpWithGradientDuSource from '../../kernels/warp_with_gradient_du.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Op, type Shape, show, type Tensor, trace } from '../graph/graph.ts';
import { flatPlanes, perVoxel, volume } from './launch.ts';
import { checkWarp, identity, type Matrix, warpParams } from './warp.ts';

const withGradientKernel = kernel('with_gradient', withGradientSource);
const warpWithGradientKernel = kernel('warp_with_gradient', warpWithGradientSource);
const warpWithGradientDuKernel = kernel('warp_with_gradient_du', warpWithGradientDuSource);

const withGradientOp: Op<object> = {
  name: 'withGradient',
  shape([x]) {
    const { n, d, h, w } = volume('withGradient', 'image', x, 1);
    return [[n, d, h, w, 4]];
  },
  launch({ inputs: [x], outputs: [y], processor }) {
    const { n, d, h, w } = volume('withGradient', 'image', x.shape);
    return [{ kernel: withGradientKernel, ...perVoxel(w, h, n * d, processor), bindings: { x, y }, params: { w, h, d } }];
  },
};

/** An image [N, 1, D, H, W] with its gradient (fourth-order differences) beside it, [N, D, H, W, 4], for `warpWithGradient`. */
export const withGradient = (image: Tensor): Tensor => trace(withGradientOp, [image], {});

/** What both kernels over the voxels of u share; the image is [N, D, H, W, 4]. */
function launchOver(image: Shape, u: Shape, matrix: Matrix) {
  const { n, d, h, w } = volume('warpWithGradient', 'u', u);
  const { channels: _, ...params } = warpParams([n, 1, ...image.slice(1, 4)], u, matrix);
  return { ...flatPlanes(w * h, n * d), params };
}

const warpWithGradientOp: Op<{ matrix: Matrix }> = {
  name: 'warpWithGradient',
  shape([image, u], { matrix }) {
    const [n, ...size] = image;
    if (image.length !== 5 || image[4] !== 4)
      throw new Error(`warpWithGradient: image must be withGradient(…), [N, D, H, W, 4], got ${show(image)}`);
    checkWarp('warpWithGradient', [n, 1, ...size.slice(0, 3)], u, matrix);
    return [[n, 1, ...u.slice(2)], u];
  },
  launch: ({ inputs: [image, u], outputs: [warped, gradient], attrs: { matrix } }) => [
    {
      kernel: warpWithGradientKernel,
      ...launchOver(image.shape, u.shape, matrix),
      bindings: { image, u, warped, gradient },
    },
  ],
  vjp({ inputs: [image, u], cotangents: [dwarped, dgradient], wanted, attrs: { matrix } }) {
    if (wanted[0]) throw new Error('warpWithGradient: the image has no gradient; `warp` has one');
    const given = [dwarped, dgradient].filter((t) => t !== undefined);
    return [undefined, trace(warpWithGradientDuOp, [image, u, ...given], { matrix, warped: !!dwarped, gradient: !!dgradient })];
  },
};

/** `warped` and `gradient` say which of the inputs [image, u, dwarped, dgradient] are there. */
const warpWithGradientDuOp: Op<{ matrix: Matrix; warped: boolean; gradient: boolean }> = {
  name: 'warpWithGradientDu',
  shape: ([, u]) => [u],
  launch({ inputs: [image, u, ...given], outputs: [du], attrs: { matrix, warped, gradient } }) {
    const { constants, ...over } = launchOver(image.shape, u.shape, matrix);
    return [
      {
        kernel: warpWithGradientDuKernel,
        ...over,
        constants: { ...constants, WARPED: warped, GRADIENT: gradient },
        bindings: { image, u, dwarped: given[0], dgradient: given.at(-1)!, du },
      },
    ];
  },
};

/**
 * The image at M·(p + u(p)) and its gradient by u there, in one pass; for forces that are continuous in u. `image` is
 * `withGradient` of an image on any grid, u [N, 3, D, H, W]; `matrix` as in `warp`. It has a
 * VJP for u, none for the image.
 */
export function warpWithGradient(image: Tensor, u: Tensor, matrix: Matrix = identity): { warped: Tensor; gradient: Tensor } {
  const [warped, gradient] = u.graph.apply(warpWithGradientOp, [image, u], { matrix });
  return { warped, gradient };
}
