// A whole registration as one static graph: preparation, the levels' iterations, and the results. Needs no device.
import { andersonOptions, type Iteration, type Method, traceIteration } from '../deq/solver.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import { type Affine, composeAffine, invertAffine } from '../io/affine.ts';
import { type Grid, gridOf } from '../io/volume.ts';
import { composedAdam, composedAdamState } from '../models/composed-adam.ts';
import { type Cell, type LevelImages, lnccDisplacementForce } from '../models/cell.ts';
import { cells, type Model } from '../models/cells.ts';
import { variationalCell } from '../models/variational.ts';
import {
  centre,
  fill,
  identity,
  applyWindow,
  localStatistics,
  type Matrix,
  resetAdam,
  resample,
  resize,
  warpFull,
  withGradient,
} from '../ops/index.ts';
import type { IntensityWindow } from './intensity.ts';
import type { ResolvedOptions } from './options.ts';
import { heldGrid, type Level, levelGrid, levelSpacing, matrixBetween, resizeDisplacement, shapeOf, spacingRatios } from './pyramid.ts';
import { within } from './region.ts';

/** One level of a traced registration, or what follows the last one on its grid. `value` is its result, in voxels of its grid. */
export interface TracedLevel {
  factor: number;
  /** `refine`: a few evaluations that end a registration, for detail, not for a fixed point. */
  stage?: 'refine';
  maxIterations: number;
  /** RMS of f(u) − u in voxels of the grid. */
  tolerance: number;
  grid: Level;
  images: LevelImages;
  iteration: Iteration;
  value: Tensor;
}

export interface TracedRegistration {
  graph: Graph;
  fixed: Tensor;
  moving: Tensor;
  masks: { fixed?: Tensor; moving?: Tensor };
  /** Weights to upload before a level is run, where the update is a trained one. */
  parameters?: Cell['parameters'];
  levels: TracedLevel[];
  /** The whole transform in voxels of the fixed grid, its components (w, h, d), each [1, 1, D, H, W]. */
  displacement: Tensor[];
  /** The moving image on the fixed grid, in its own intensities. */
  warped: Tensor;
  /** Mean LNCC on the finest level's grid, before anything and after everything. */
  similarity: { before: Tensor; after: Tensor };
}

/** What a trace depends on beside grids and options. */
export interface TraceSetting {
  windows: { fixed: IntensityWindow; moving: IntensityWindow };
  /** Which images come with a mask. */
  masks?: { fixed: boolean; moving: boolean };
  /** What the warped image gets from beyond the moving one. Default: 0. */
  background?: number;
  /** Of method `deq`. */
  model?: Model;
  /** RAS mm, fixed to moving points; it comes before the deformation: warped(x) = moving(transform(x + deformation(x))). */
  transform?: Affine;
  /** How fixed points are sought, and whether a level ends at its best iterate or at its last. Default: SOLVER, best; not of `adam`. */
  solver?: { method: Method; ends: 'best' | 'last' };
}

/**
 * How a level's fixed point is sought. Where the similarity's force is steep, steps along it overshoot: after 200 evaluations the highest
 * residual of five pairs' levels is 0.0027 voxel, and with β = 1, by which some iterates leave their fixed point again, 0.0093
 * (bench/results/solver.md).
 */
export const SOLVER: Method = { method: 'anderson', beta: 0.5, keeps: 'iterate' };

/** Evaluations that are few: none of them is spent on a residual alone. */
const FEW = 2;

/** Phases beside the levels' own. */
export const PREPARE = 'prepare';
export const FINISH = 'finish';

/**
 * Traces the registration of a moving volume to a fixed one: both windowed to 0…1, a pyramid of each on its own grid, one
 * iteration a level that starts from the coarser one's result, and the displacement at full resolution. `whole` is the fixed image's grid;
 * where the options name a region of it, that part alone is an input.
 */
export function traceRegistration(
  whole: Grid,
  movingGrid: Grid,
  options: ResolvedOptions,
  { windows, masks: given, background = 0, model, transform, solver = { method: SOLVER, ends: 'best' } }: TraceSetting,
): TracedRegistration {
  const graph = new Graph();
  const fixedGrid = within(gridOf(whole), options.region);
  const fixed = graph.input('fixed', [1, 1, ...shapeOf(fixedGrid)]);
  const moving = graph.input('moving', [1, 1, ...shapeOf(movingGrid)]);
  const masks = {
    fixed: given?.fixed ? graph.input('fixed mask', fixed.shape) : undefined,
    moving: given?.moving ? graph.input('moving mask', moving.shape) : undefined,
  };
  const { refine } = options;
  const factors = refine && refine.factor !== options.levels.at(-1) ? [...options.levels, refine.factor] : options.levels;
  const spacings = factors.map((factor) => levelSpacing(fixedGrid, factor));
  const grids = { fixed: spacings.map((mm) => levelGrid(fixedGrid, mm)), moving: spacings.map((mm) => levelGrid(movingGrid, mm)) };
  const images = graph.phase(PREPARE, () => ({
    fixed: pyramid(applyWindow(fixed, windows.fixed.low, windows.fixed.high), grids.fixed),
    moving: pyramid(applyWindow(moving, windows.moving.low, windows.moving.high), grids.moving),
    masks: { fixed: masks.fixed && pyramid(masks.fixed, grids.fixed), moving: masks.moving && pyramid(masks.moving, grids.moving) },
  }));
  const held = grids.moving.map((grid, i) => heldGrid(grid, grids.fixed[i], transform));
  /** Something of the moving image on the grid that the level of factors[i] holds it on. */
  const onHeld = (x: Tensor, i: number): Tensor =>
    held[i] === grids.moving[i] ? x : resample(x, shapeOf(held[i]), matrixBetween(held[i], grids.moving[i]));
  /** What a cell needs of the grid of factors[i]. */
  const prepare = (name: string, i: number, window: number, lambda?: number): LevelImages =>
    graph.phase(`${name}.images`, () => ({
      fixed: localStatistics(images.fixed[i], window),
      moving: withGradient(centre(onHeld(images.moving[i], i))),
      matrix: matrixBetween(grids.fixed[i], held[i], transform),
      ratios: spacingRatios(grids.fixed[i]),
      lambda,
      masks: { fixed: images.masks.fixed?.[i], moving: images.masks.moving && onHeld(images.masks.moving[i], i) },
    }));
  /** The last level's images where their headers put them. What is held of the moving one need not be what lies there. */
  const unaligned = (aligned: LevelImages): LevelImages => {
    const i = factors.length - 1;
    const [grid, own] = [grids.fixed[i], grids.moving[i]];
    const matrix = matrixBetween(grid, own);
    if (held[i] === own) return { ...aligned, matrix };
    const there = (x: Tensor) => resample(x, shapeOf(grid), matrix);
    const masks = { fixed: aligned.masks?.fixed, moving: images.masks.moving && there(images.masks.moving[i]) };
    return { ...aligned, moving: withGradient(centre(there(images.moving[i]))), matrix: identity, masks };
  };
  /** The coarser level's result on the grid of factors[i]. */
  const from = (coarser: TracedLevel | undefined, i: number) =>
    coarser && (() => resizeDisplacement(coarser.value, coarser.grid, grids.fixed[i]));

  const trained = options.method === 'deq' ? cellOf(graph, model) : undefined;
  const levels: TracedLevel[] = [];
  options.levels.forEach((factor, i) => {
    const grid = grids.fixed[i];
    const name = `level ${factor}`;
    const shape = [1, 3, ...shapeOf(grid)];
    const prepared = prepare(name, i, options.window, options.lambda[i]);
    const initial = from(levels[i - 1], i);
    const level = { factor, maxIterations: options.iterations[i], tolerance: options.tolerance[i], grid, images: prepared };
    if (options.method === 'adam') {
      const memory = composedAdamState(graph, name, shape);
      const update = composedAdam(prepared, memory, { ...options, lambda: options.lambda[i] });
      const iteration = traceIteration(graph, name, { method: 'picard' }, shape, update, initial, () => resetAdam(memory));
      levels.push({ ...level, iteration, value: iteration.z });
    } else {
      const update =
        options.method === 'deq' ? trained!.monitored(prepared) : variationalCell(prepared, { ...options, lambda: options.lambda[i] });
      const method = solver.ends === 'best' ? bounded(solver.method, level.maxIterations) : solver.method;
      const iteration = traceIteration(graph, name, method, shape, update, initial);
      levels.push({ ...level, iteration, value: solver.ends === 'best' ? iteration.best : iteration.z });
    }
  });
  if (refine) {
    const { factor, iterations: maxIterations, tolerance } = refine;
    const i = factors.length - 1;
    const grid = grids.fixed[i];
    const name = 'refine';
    const prepared = prepare(name, i, refine.window);
    const method = bounded({ method: 'anderson', beta: 1 }, maxIterations); // undamped: too few to overshoot
    const shape = [1, 3, ...shapeOf(grid)];
    const iteration = traceIteration(graph, name, method, shape, variationalCell(prepared, refine), from(levels.at(-1), i));
    levels.push({ factor, stage: 'refine', maxIterations, tolerance, grid, images: prepared, iteration, value: iteration.best });
  }

  return graph.phase(FINISH, () => {
    const { value, images: aligned } = levels.at(-1)!;
    const lnccOf = (seen: LevelImages, u: Tensor) => graph.output(lnccDisplacementForce(seen, u).similarity);
    const similarity = { before: lnccOf(unaligned(aligned), fill(graph, value.shape, 0)), after: lnccOf(aligned, value) };
    const toFixed = transform ? voxelsOf(whole, transform) : identity;
    const { first } = options.region ?? { first: [0, 0, 0] };
    const box = { first: [first[2], first[1], first[0]] as const, size: shapeOf(fixedGrid) };
    const result = warpFull(value, moving, shapeOf(whole), toFixed, matrixBetween(whole, movingGrid, transform), background, box);
    [...result.displacement, result.warped].forEach((t) => graph.output(t));
    return { graph, fixed, moving, masks, parameters: trained?.parameters, levels, similarity, ...result };
  });
}

/** Declares a model's weights on the graph. */
function cellOf(graph: Graph, model: Model | undefined): Cell {
  if (!model) throw new Error('traceRegistration: method deq needs a model');
  return cells[model.cell](graph, { channels: model.channels, similarity: 'exact' });
}

/**
 * A method for so many evaluations at most: what is best of n comes from a mixture of n − 1, and no longer a history is ever read; where
 * they are few, none is spent on a residual alone.
 */
function bounded(method: Method, evaluations: number): Method {
  if (method.method === 'picard') return method;
  const { window, keeps } = andersonOptions(method);
  return { ...method, window: Math.max(1, Math.min(window, evaluations - 1)), keeps: evaluations > FEW ? keeps : 'value' };
}

/** A transform of space (RAS mm) in voxels of a grid. */
const voxelsOf = ({ affine }: Grid, transform: Affine): Matrix => composeAffine(invertAffine(affine), composeAffine(transform, affine));

/** An image on every level's grid, each resized from the next finer one. */
function pyramid(image: Tensor, grids: readonly Level[]): Tensor[] {
  let finer = image;
  return grids
    .slice()
    .reverse()
    .map((grid) => (finer = resize(finer, shapeOf(grid))))
    .reverse();
}
