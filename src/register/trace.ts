// A whole registration as one static graph: preparation, the levels' iterations, and the results. Needs no device.
import { type Iteration, traceIteration } from '../deq/solver.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import { voxelToVoxel } from '../io/affine.ts';
import { type Grid, sameGrid } from '../io/volume.ts';
import { composedAdam, composedAdamState } from '../models/composed-adam.ts';
import { variationalCell } from '../models/variational.ts';
import { concat, identity, intensityWindow, lncc, localStatistics, resample, resetAdam, resize, scale, split, warp, withGradient } from '../ops/index.ts';
import type { IntensityWindow } from './intensity.ts';
import type { ResolvedOptions } from './options.ts';
import { type Level, levelGrid } from './pyramid.ts';

/** One level of a traced registration. `value` is its result, in voxels of its grid. */
export interface TracedLevel { level: Level; iteration: Iteration; value: Tensor }

export interface TracedRegistration {
  graph: Graph;
  fixed: Tensor;
  moving: Tensor;
  levels: TracedLevel[];
  /** [1, 3, D, H, W] in voxels of the fixed grid. */
  displacement: Tensor;
  /** The moving image on the fixed grid, in its own intensities. */
  warped: Tensor;
  /** Mean LNCC on the finest level's grid. */
  similarity: { before: Tensor; after: Tensor };
}

/** Phases beside the levels' own. */
export const PREPARE = 'prepare';
export const FINISH = 'finish';

/**
 * Traces the registration of a moving volume to a fixed one: both windowed to 0…1 on the fixed grid, a pyramid, one
 * iteration a level that starts from the coarser one's result, and the displacement at full resolution.
 */
export function traceRegistration(fixedGrid: Grid, movingGrid: Grid, spacing: [number, number, number], windows: { fixed: IntensityWindow; moving: IntensityWindow }, options: ResolvedOptions): TracedRegistration {
  const graph = new Graph();
  const shapeOf = ([w, h, d]: readonly number[]) => [1, 1, d!, h!, w!] as const;
  const fixed = graph.input('fixed', shapeOf(fixedGrid.size));
  const moving = graph.input('moving', shapeOf(movingGrid.size));
  const matrix = sameGrid(fixedGrid, movingGrid) ? identity : voxelToVoxel(fixedGrid.affine, movingGrid.affine);
  const grids = options.levels.map((factor) => levelGrid(fixedGrid.size, spacing, factor));

  const pyramid = graph.phase(PREPARE, () => {
    const onGrid = matrix === identity ? moving : resample(moving, sizeOf(fixedGrid.size), matrix);
    let images = [intensityWindow(fixed, windows.fixed.low, windows.fixed.high), intensityWindow(onGrid, windows.moving.low, windows.moving.high)];
    // From fine to coarse, each level from the one before it.
    return grids.slice().reverse().map(({ size }) => (images = images.map((x) => resize(x, sizeOf(size))))).reverse();
  });

  const levels: TracedLevel[] = [];
  grids.forEach((level, i) => {
    const [f, m] = pyramid[i]! as [Tensor, Tensor];
    const name = `level ${level.factor}`;
    const shape = [1, 3, ...f.shape.slice(2)];
    const prepared = graph.phase(`${name}.images`, () => ({ fixed: localStatistics(f, options.window), moving: withGradient(m) }));
    const cell = { lambda: options.lambda[i]!, step: options.step, softness: options.softness, smoothing: options.smoothing };
    const coarser = levels[i - 1];
    const initial = coarser && (() => resizeDisplacement(coarser.value, coarser.level, level));
    if (options.method === 'adam') {
      const memory = composedAdamState(graph, name, shape);
      const iteration = traceIteration(graph, name, { method: 'picard' }, shape, composedAdam(prepared, memory, cell), initial, () => resetAdam(memory));
      levels.push({ level, iteration, value: iteration.z });
    } else {
      const iteration = traceIteration(graph, name, { method: 'anderson' }, shape, variationalCell(prepared, cell), initial);
      levels.push({ level, iteration, value: iteration.best });
    }
  });

  return graph.phase(FINISH, () => {
    const [f, m] = pyramid[pyramid.length - 1]! as [Tensor, Tensor];
    const last = levels[levels.length - 1]!;
    const similarity = { before: graph.output(lncc(f, m, options.window)), after: graph.output(lncc(f, warp(m, last.value), options.window)) };
    const full: Level = { factor: 1, size: fixedGrid.size, scale: [1, 1, 1] };
    const displacement = graph.output(resizeDisplacement(last.value, last.level, full));
    const warped = graph.output(warp(moving, displacement, matrix));
    return { graph, fixed, moving, levels, displacement, warped, similarity };
  });
}

const sizeOf = ([w, h, d]: readonly number[]): [number, number, number] => [d!, h!, w!];

/** A displacement on another level's grid, in that grid's voxels. */
function resizeDisplacement(u: Tensor, from: Level, to: Level): Tensor {
  const resized = resize(u, sizeOf(to.size));
  const factors = from.scale.map((s, axis) => s / to.scale[axis]!);
  if (factors.every((f) => f === factors[0])) return scale(resized, factors[0]!);
  return concat(...split(resized, [1, 1, 1]).map((channel, axis) => scale(channel, factors[axis]!)));
}
