// A stored displacement applied to another volume: what `deqreg apply` does.
import { Graph, type Tensor } from '../graph/graph.ts';
import { runOnce } from '../graph/schedule.ts';
import type { Gpu } from '../gpu/device.ts';
import { voxelToVoxel } from '../io/affine.ts';
import { fromPhysical } from '../io/displacement.ts';
import type { DisplacementField } from '../io/nifti.ts';
import { checkValues, type Float32Volume, type Grid, gridOf, voxelCount } from '../io/volume.ts';
import { warp } from '../ops/index.ts';
import { checkField, checkReach } from './fields.ts';
import { blankBeyond } from './overlap.ts';
import { warpLabels } from './metrics.ts';
import { matrixBetween, shapeOf } from './pyramid.ts';
import { cut, paste, slabs } from './slabs.ts';

export const interpolations = ['linear', 'nearest'] as const;
export type Interpolation = (typeof interpolations)[number];

/**
 * A moving volume, on any grid, pulled through a displacement to the displacement's grid. What comes from beyond the moving grid is
 * background: the volume's smallest value under `linear`, 0 under `nearest`, which is for label maps. Throws when the displacement leads
 * elsewhere.
 * @param displacement [3, D, H, W] in LPS mm from the fixed to the moving point, as `readDisplacement` gives
 */
export async function applyDisplacement(
  gpu: Gpu,
  moving: Grid & { data: Float32Array },
  displacement: DisplacementField,
  interpolation: Interpolation = 'linear',
): Promise<Float32Volume> {
  if (!interpolations.includes(interpolation))
    throw new Error(`interpolation must be one of ${interpolations.join(', ')}; got ${interpolation}`);
  checkValues('moving', moving, 1);
  checkField('displacement', displacement);
  checkReach(displacement, moving);
  const { size, affine } = displacement;
  const steps = fromPhysical(displacement.data, displacement);
  if (interpolation === 'nearest') {
    const data = warpLabels(moving.data, moving.size, steps, size, voxelToVoxel(affine, moving.affine));
    return { ...gridOf(displacement), data, dtype: 'float32' };
  }
  const data = new Float32Array(voxelCount(displacement));
  for (const slab of slabs(displacement)) {
    const graph = new Graph();
    const image = graph.input('moving', [1, 1, ...shapeOf(moving)]);
    const u = graph.input('displacement', [1, 3, ...shapeOf(slab.grid)]);
    const warped = graph.phase('apply', () => graph.output(warp(image, u, matrixBetween(slab.grid, moving))));
    const inputs: [Tensor, Float32Array][] = [
      [image, moving.data],
      [u, cut(steps, displacement, slab)],
    ];
    paste(data, await runOnce(gpu, graph, inputs, warped), displacement, slab);
  }
  blankBeyond(data, steps, displacement, moving);
  return { ...gridOf(displacement), data, dtype: 'float32' };
}
