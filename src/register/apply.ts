// A stored displacement applied to another volume: what `deqreg apply` does.
import { Schedule } from '../graph/schedule.ts';
import { Graph } from '../graph/graph.ts';
import type { Gpu } from '../gpu/device.ts';
import { voxelToVoxel } from '../io/affine.ts';
import { fromPhysical } from '../io/displacement.ts';
import type { DisplacementFile } from '../io/nifti.ts';
import { type Grid, sameGrid, type Volume, voxelCount } from '../io/volume.ts';
import { identity, warp, warpNearest } from '../ops/index.ts';
import { checkReach } from './fields.ts';
import { cut, paste, slabs } from './slabs.ts';

export const interpolations = ['linear', 'nearest'] as const;
export type Interpolation = (typeof interpolations)[number];

/**
 * A moving volume, on any grid, pulled through a displacement to the displacement's grid. Border voxels go on beyond the moving grid.
 * Throws when the displacement leads elsewhere.
 * @param displacement [3, D, H, W] in LPS mm from the fixed to the moving point, as `readDisplacement` gives
 * @param interpolation `nearest` for label maps
 */
export async function applyDisplacement(
  gpu: Gpu,
  moving: Volume,
  displacement: DisplacementFile,
  interpolation: Interpolation = 'linear',
): Promise<Volume> {
  checkReach(displacement, moving);
  const shapeOf = ({ size: [w, h, d] }: Grid) => [d, h, w];
  const steps = fromPhysical(displacement.data, displacement);
  const data = new Float32Array(voxelCount(displacement));
  for (const slab of slabs(displacement)) {
    const graph = new Graph();
    const image = graph.input('moving', [1, 1, ...shapeOf(moving)]);
    const u = graph.input('displacement', [1, 3, ...shapeOf(slab.grid)]);
    const matrix = sameGrid(slab.grid, moving) ? identity : voxelToVoxel(slab.grid.affine, moving.affine);
    const warped = graph.phase('apply', () => graph.output((interpolation === 'nearest' ? warpNearest : warp)(image, u, matrix)));
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
  return { size: displacement.size, affine: displacement.affine, data, dtype: 'float32' };
}
