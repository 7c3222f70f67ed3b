// Affine maps as displacements: the field of a matrix, alone or after a displacement, and its gradient for the matrix.
import fieldSource from '../../kernels/affine_field.wgsl';
import fieldDmSource from '../../kernels/affine_field_dm.wgsl';
import sumRowsSource from '../../kernels/sum_rows.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, type Op, sameShape, show, type Tensor, trace } from '../graph/graph.ts';
import { planes, volume, WG } from './launch.ts';
import { partialsOf } from './reduce.ts';

const fieldKernel = kernel('affine_field', fieldSource);
const fieldDmKernel = kernel('affine_field_dm', fieldDmSource);
const sumRowsKernel = kernel('sum_rows', sumRowsSource);

const affineFieldOp: Op<{ size: readonly [number, number, number] }> = {
  name: 'affineField',
  shape([m, u], { size }) {
    if (!sameShape(m!, [12])) throw new Error(`affineField: the matrix is 3×4, row-major, of shape [12]; got ${show(m!)}`);
    if (u) volume('affineField', 'u', u, 3);
    return [u ?? [1, 3, ...size]];
  },
  launch({ inputs: [m, u], outputs: [y] }) {
    const { n, d, h, w } = volume('affineField', 'y', y!.shape);
    const { constants, groups } = planes(w, h, n * d);
    return [{
      kernel: fieldKernel, constants: { ...constants, MOVES: String(!!u) }, groups,
      bindings: { m: m!, u: u ?? m!, y: y! }, params: { w, h, d },
    }];
  },
  vjp({ inputs: [, u], cotangents: [dy] }) {
    if (u) throw new Error('affineField: the field of a matrix after a displacement has no gradient; compose instead');
    return [trace(affineFieldDmOp, [dy!], {})];
  },
};

const affineFieldDmOp: Op<object> = {
  name: 'affineFieldDm',
  shape: () => [[12]],
  launch(node): Dispatch[] {
    const { inputs: [dy], outputs: [dm] } = node;
    const { n, d, h, w, voxels } = volume('affineField', 'dy', dy!.shape, 3);
    const rows = partialsOf(n * voxels);
    const partials = node.workspace('partials', [rows, 12]);
    return [
      { kernel: fieldDmKernel, constants: { WG }, groups: [rows, 1, 1], bindings: { dy: dy!, partials }, params: { w, h, d, batch: n } },
      { kernel: sumRowsKernel, constants: { WG }, groups: [12, 1, 1], bindings: { x: partials, y: dm! }, params: { rows, columns: 12 } },
    ];
  },
};

/** The displacement M·p − p of a matrix (shape [12]: 3×4, row-major, voxels to voxels), [1, 3, D, H, W] for a size [D, H, W]. */
export const affineField = (matrix: Tensor, size: readonly [number, number, number]): Tensor => trace(affineFieldOp, [matrix], { size });

/** The displacement M·(p + u(p)) − p of a matrix after a displacement u [N, 3, D, H, W], in voxels. Has no VJP. */
export const affineAfter = (matrix: Tensor, u: Tensor): Tensor => trace(affineFieldOp, [matrix, u], { size: [1, 1, 1] });
