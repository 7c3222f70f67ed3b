// A stored displacement applied to another volume: what `deqreg apply` does.
import { Schedule } from '../graph/schedule.ts';
import { Graph } from '../graph/graph.ts';
import type { Gpu } from '../gpu/device.ts';
import { voxelToVoxel } from '../io/affine.ts';
import { fromPhysical } from '../io/displacement.ts';
import { type Grid, sameGrid, type Volume } from '../io/volume.ts';
import { identity, warp, warpNearest } from '../ops/index.ts';
import { checkOverlap } from './overlap.ts';

export const interpolations = ['linear', 'nearest'] as const;
export type Interpolation = (typeof interpolations)[number];

/**
 * A moving volume, on any grid, pulled through a displacement to the displacement's grid. Border voxels go on beyond the moving grid.
 * Throws when the two grids do not overlap.
 * @param displacement [3, D, H, W] in LPS mm from the fixed to the moving point, as `readDisplacement` gives
 * @param interpolation `nearest` for label maps
 */
export async function applyDisplacement(
  gpu: Gpu, moving: Volume, displacement: Grid & { data: Float32Array }, interpolation: Interpolation = 'linear',
): Promise<Volume> {
  checkOverlap(displacement, moving);
  const shapeOf = ([w, h, d]: Grid['size'], channels: number) => [1, channels, d, h, w];
  const graph = new Graph();
  const image = graph.input('moving', shapeOf(moving.size, 1));
  const u = graph.input('displacement', shapeOf(displacement.size, 3));
  const matrix = sameGrid(displacement, moving) ? identity : voxelToVoxel(displacement.affine, moving.affine);
  const warped = graph.phase('apply', () => graph.output((interpolation === 'nearest' ? warpNearest : warp)(image, u, matrix)));
  const schedule = await Schedule.build(gpu, graph);
  try {
    schedule.upload(image, moving.data);
    schedule.upload(u, fromPhysical(displacement.data, displacement));
    schedule.run('apply');
    return { size: displacement.size, affine: displacement.affine, data: await schedule.read(warped), dtype: 'float32' };
  } finally {
    schedule.destroy();
  }
}
