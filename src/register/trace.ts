// A whole registration as one static graph: preparation, the levels' iterations, and the results. Needs no device.
import { type Iteration, traceIteration } from '../deq/solver.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import { voxelSpacing, voxelToVoxel } from '../io/affine.ts';
import { type Grid, sameGrid } from '../io/volume.ts';
import { composedAdam, composedAdamState } from '../models/composed-adam.ts';
import { variationalCell } from '../models/variational.ts';
import { centre, identity, intensityWindow, lncc, localStatistics, type Matrix, resample, resetAdam, resize, scaleChannels, warp, withGradient } from '../ops/index.ts';
import type { IntensityWindow } from './intensity.ts';
import type { ResolvedOptions } from './options.ts';
import { type Level, levelGrid, levelSpacing } from './pyramid.ts';

/** One level of a traced registration. `value` is its result, in voxels of its grid. */
export interface TracedLevel { factor: number; grid: Level; iteration: Iteration; value: Tensor }

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
 * Traces the registration of a moving volume to a fixed one: both windowed to 0…1, a pyramid of each on its own grid, one
 * iteration a level that starts from the coarser one's result, and the displacement at full resolution.
 */
export function traceRegistration(fixedGrid: Grid, movingGrid: Grid, windows: { fixed: IntensityWindow; moving: IntensityWindow }, options: ResolvedOptions): TracedRegistration {
  const graph = new Graph();
  const fixed = graph.input('fixed', [1, 1, ...shapeOf(fixedGrid)]);
  const moving = graph.input('moving', [1, 1, ...shapeOf(movingGrid)]);
  const spacings = options.levels.map((factor) => levelSpacing(fixedGrid, factor));
  const grids = { fixed: spacings.map((mm) => levelGrid(fixedGrid, mm)), moving: spacings.map((mm) => levelGrid(movingGrid, mm)) };
  const images = graph.phase(PREPARE, () => ({ fixed: pyramid(fixed, windows.fixed, grids.fixed), moving: pyramid(moving, windows.moving, grids.moving) }));
  const matrices = spacings.map((_, i) => matrixBetween(grids.fixed[i]!, grids.moving[i]!));

  const levels: TracedLevel[] = [];
  options.levels.forEach((factor, i) => {
    const [f, m, grid, matrix] = [images.fixed[i]!, images.moving[i]!, grids.fixed[i]!, matrices[i]!];
    const name = `level ${factor}`;
    const shape = [1, 3, ...shapeOf(grid)];
    const prepared = graph.phase(`${name}.images`, () => ({ fixed: localStatistics(f, options.window), moving: withGradient(centre(m)), matrix, ratios: spacingRatios(grid) }));
    const cell = { lambda: options.lambda[i]!, step: options.step, softness: options.softness, smoothing: options.smoothing };
    const coarser = levels[i - 1];
    const initial = coarser && (() => resizeDisplacement(coarser.value, coarser.grid, grid));
    if (options.method === 'adam') {
      const memory = composedAdamState(graph, name, shape);
      const iteration = traceIteration(graph, name, { method: 'picard' }, shape, composedAdam(prepared, memory, cell), initial, () => resetAdam(memory));
      levels.push({ factor, grid, iteration, value: iteration.z });
    } else {
      const iteration = traceIteration(graph, name, { method: 'anderson' }, shape, variationalCell(prepared, cell), initial);
      levels.push({ factor, grid, iteration, value: iteration.best });
    }
  });

  return graph.phase(FINISH, () => {
    const last = levels.length - 1;
    const [f, m, { value, grid }, matrix] = [images.fixed[last]!, images.moving[last]!, levels[last]!, matrices[last]!];
    const similarity = {
      before: graph.output(lncc(f, resample(m, shapeOf(grid), matrix), options.window)),
      after: graph.output(lncc(f, warp(m, value, matrix), options.window)),
    };
    const displacement = graph.output(resizeDisplacement(value, grid, { ...fixedGrid, scale: [1, 1, 1] }));
    const warped = graph.output(warp(moving, displacement, matrixBetween(fixedGrid, movingGrid)));
    return { graph, fixed, moving, levels, displacement, warped, similarity };
  });
}

const shapeOf = ({ size: [w, h, d] }: Grid): [number, number, number] => [d, h, w];

/** Finest spacing / spacing along each axis. */
function spacingRatios({ affine }: Grid): [number, number, number] {
  const spacing = voxelSpacing(affine);
  return spacing.map((s) => Math.min(...spacing) / s) as [number, number, number];
}

const matrixBetween = (from: Grid, to: Grid): Matrix => (sameGrid(from, to) ? identity : voxelToVoxel(from.affine, to.affine));

/** An image windowed to 0…1 on every level's grid, each resized from the next finer one. */
function pyramid(image: Tensor, { low, high }: IntensityWindow, grids: readonly Level[]): Tensor[] {
  let finer = intensityWindow(image, low, high);
  return grids.slice().reverse().map((grid) => (finer = resize(finer, shapeOf(grid)))).reverse();
}

/** A displacement on another level's grid, in that grid's voxels. */
const resizeDisplacement = (u: Tensor, from: Level, to: Level): Tensor =>
  scaleChannels(resize(u, shapeOf(to)), from.scale.map((s, axis) => s / to.scale[axis]!));
