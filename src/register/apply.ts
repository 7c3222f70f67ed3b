// A stored displacement applied to another volume: what `deqreg apply` does.
import { Schedule } from '../graph/schedule.ts';
import { Graph } from '../graph/graph.ts';
import type { Gpu } from '../gpu/device.ts';
import { voxelToVoxel } from '../io/affine.ts';
import { fromPhysical } from '../io/displacement.ts';
import type { DisplacementFile } from '../io/nifti.ts';
import { type Volume, voxelCount } from '../io/volume.ts';
import { warp } from '../ops/index.ts';
import { checkReach } from './fields.ts';
import { warpLabels } from './metrics.ts';
import { matrixBetween, shapeOf } from './pyramid.ts';
import { cut, paste, slabs } from './slabs.ts';

export const interpolations = ['linear', 'nearest'] as const;
export type Interpolation = (typeof interpolations)[number];

/**
 * A moving volume, on any grid, pulled through a displacement to the displacement's grid. Beyond the moving grid border voxels go on under
 * `linear`; under `nearest`, which is for label maps, there is background. Throws when the displacement leads elsewhere.
 * @param displacement [3, D, H, W] in LPS mm from the fixed to the moving point, as `readDisplacement` gives
 */
export async function applyDisplacement(
  gpu: Gpu,
  moving: Volume,
  displacement: DisplacementFile,
  interpolation: Interpolation = 'linear',
): Promise<Volume> {
  checkReach(displacement, moving);
  const { size, affine } = displacement;
  const steps = fromPhysical(displacement.data, displacement);
  if (interpolation === 'nearest') {
    const data = warpLabels(moving.data, moving.size, steps, size, voxelToVoxel(affine, moving.affine));
    return { size, affine, data, dtype: 'float32' };
  }
  const data = new Float32Array(voxelCount(displacement));
  for (const slab of slabs(displacement)) {
    const graph = new Graph();
    const image = graph.input('moving', [1, 1, ...shapeOf(moving)]);
    const u = graph.input('displacement', [1, 3, ...shapeOf(slab.grid)]);
    const warped = graph.phase('apply', () => graph.output(warp(image, u, matrixBetween(slab.grid, moving))));
    const schedule = await Schedule.build(gpu, graph);
    try {
      schedule.upload(image, moving.data);
      schedule.upload(u, cut(steps, displacement, slab));
      schedule.run('apply');
      paste(data, await schedule.read(warped), displacement, slab);
    } finally {
      schedule.destroy();
    }
  }
  return { size, affine, data, dtype: 'float32' };
}
