// Affine maps as displacements: the field of a matrix, and its gradient for the matrix.
import fieldSource from '../../kernels/affine_field.wgsl';
import fieldDmSource from '../../kernels/affine_field_dm.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, type Op, sameShape, show, type Tensor, trace } from '../graph/graph.ts';
import { perVoxel, volume, WG } from './launch.ts';
import { sumRows } from './reduce.ts';

const fieldKernel = kernel('affine_field', fieldSource);
const fieldDmKernel = kernel('affine_field_dm', fieldDmSource);

const affineFieldOp: Op<{ size: readonly [number, number, number] }> = {
  name: 'affineField',
  shape([m], { size }) {
    if (!sameShape(m, [12])) throw new Error(`affineField: the matrix is 3×4, row-major, of shape [12]; got ${show(m)}`);
    return [[1, 3, ...size]];
  },
  launch({
    inputs: [m],
    outputs: [y],
    attrs: {
      size: [d, h, w],
    },
    processor,
  }) {
    return [{ kernel: fieldKernel, ...perVoxel(w, h, d, processor), bindings: { m, y }, params: { w, h, d } }];
  },
  vjp: ({ cotangents: [dy] }) => [trace(affineFieldDmOp, [dy!], {})],
};

const affineFieldDmOp: Op<object> = {
  name: 'affineFieldDm',
  shape: () => [[12]],
  launch(node): Dispatch[] {
    const {
      inputs: [dy],
      outputs: [dm],
    } = node;
    const { d, h, w, voxels } = volume('affineField', 'dy', dy.shape, 3);
    // Twelve workgroup sums cost more than the voxels do: few workgroups, 16 voxels an invocation.
    const rows = Math.min(64, Math.ceil(voxels / (16 * WG)));
    const partials = node.workspace('partials', [rows, 12]);
    return [
      { kernel: fieldDmKernel, constants: { WG }, groups: [rows, 1, 1], bindings: { dy, partials }, params: { w, h, d } },
      sumRows(partials, dm, rows, 12),
    ];
  },
};

/** The displacement M·p − p of a matrix (shape [12]: 3×4, row-major, voxels to voxels), [1, 3, D, H, W] for a size [D, H, W]. */
export const affineField = (matrix: Tensor, size: readonly [number, number, number]): Tensor => trace(affineFieldOp, [matrix], { size });
