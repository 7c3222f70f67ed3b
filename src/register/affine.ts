// The affine stage: centre and axes from moments, then 6 or 12 parameters by gradient ascent on NCC, coarse to fine, through the same
// warp and similarity kernels as everything else. The kernels give the gradient for a matrix; a few parameters are climbed on the CPU.
import { Schedule } from '../graph/schedule.ts';
import { Graph, numel, type Tensor } from '../graph/graph.ts';
import { plan, type Plan } from '../graph/plan.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Bytes } from '../gpu/ledger.ts';
import { type Affine, composeAffine, identityAffine, invertAffine, voxelSpacing } from '../io/affine.ts';
import type { Grid, MaskedVolume } from '../io/volume.ts';
import { affineField, grad, applyWindow, mul, ncc, resize, warp } from '../ops/index.ts';
import { fromAffine, motionOf, movesOf, plausible, rest, startsFrom, times, toAffine, type Transform } from './affine-steps.ts';
import { bfgs, type Point } from './bfgs.ts';
import type { IntensityWindow } from './intensity.ts';
import { covered, LEAST_SHARED, overlap, partly } from './overlap.ts';
import { type Matrix3, moments, multiply, rows, transpose } from './moments.ts';
import { type Level, levelGrid, levelSpacing, shapeOf } from './pyramid.ts';

export const affineModes = ['auto', 'none', 'moments', 'rigid', 'affine'] as const;
/** `auto`: `affine` when the images start far apart, otherwise `none`. `moments`: centre and axes only. */
export type AffineMode = (typeof affineModes)[number];

export interface AffineResult {
  requested: AffineMode;
  mode: Exclude<AffineMode, 'auto'>;
  /** Fixed point → moving point, RAS mm, 3×4; of a registration it contains the `initial` one. */
  matrix: Affine;
  /** Global NCC at the finest of the affine levels, at the start and after; near −1 where one image is the other's negative. */
  ncc: { before: number; after: number };
  /** Mean distance, mm, by which the transform moves the fixed image's mass. */
  motion: number;
  /** Evaluations of NCC and its gradient. */
  evaluations: number;
}

/** GPU memory, bytes: what the plan foretold and what was allocated. */
export interface Memory {
  planned: Bytes;
  measured: Bytes;
}

/** `auto` aligns first when a coarse rigid alignment of the whole images moves the mass by more than this share of its radius … */
const FAR = 0.1;
/** … and raises NCC by more than this. */
const BETTER = 0.02;

interface TracedAffine {
  graph: Graph;
  fixed: Tensor;
  moving: Tensor;
  masks: { fixed?: Tensor; moving?: Tensor };
  levels: { phase: string; matrix: Tensor; reads: Tensor[]; fixed: Level; moving: Level }[];
}

/** Windows of the raw intensities, and which levels (factors) the stage works on: the two coarsest. */
export interface AffineSetting {
  windows: { fixed: IntensityWindow; moving: IntensityWindow };
  factors: readonly number[];
}
type Masked = Grid & { mask?: unknown };

/** A mask of the fixed image weighs NCC; what a mask of the moving image leaves out is set to 0. */
export function traceAffine(fixedGrid: Masked, movingGrid: Masked, { windows, factors }: AffineSetting): TracedAffine {
  const graph = new Graph();
  const [fixed, moving] = [graph.input('fixed', [1, 1, ...shapeOf(fixedGrid)]), graph.input('moving', [1, 1, ...shapeOf(movingGrid)])];
  const masks = {
    fixed: fixedGrid.mask || partly(fixedGrid, movingGrid) ? graph.input('fixed mask', fixed.shape) : undefined,
    moving: movingGrid.mask ? graph.input('moving mask', moving.shape) : undefined,
  };
  const grids = factors.map((factor) => ({
    factor,
    fixed: levelGrid(fixedGrid, levelSpacing(fixedGrid, factor)),
    moving: levelGrid(movingGrid, levelSpacing(fixedGrid, factor)),
  }));
  const images = graph.phase('prepare', () => {
    const f = applyWindow(fixed, windows.fixed.low, windows.fixed.high);
    const m = applyWindow(moving, windows.moving.low, windows.moving.high);
    const seen = masks.moving ? mul(m, masks.moving) : m;
    return grids.map((grid) => ({
      f: resize(f, shapeOf(grid.fixed)),
      m: resize(seen, shapeOf(grid.moving)),
      weight: masks.fixed && resize(masks.fixed, shapeOf(grid.fixed)),
    }));
  });
  const levels = grids.map((grid, i) => {
    const matrix = graph.input(`matrix ${grid.factor}`, [12]);
    const phase = `affine ${grid.factor}`;
    const { f, m, weight } = images[i];
    const reads = graph.phase(phase, () => {
      const between = composeAffine(invertAffine(grid.moving.affine), grid.fixed.affine);
      const similarity = ncc(f, warp(m, affineField(matrix, shapeOf(grid.fixed)), between), undefined, weight);
      return [similarity, ...grad(similarity, [matrix])].map((t) => graph.output(t));
    });
    return { phase, matrix, reads, fixed: grid.fixed, moving: grid.moving };
  });
  return { graph, fixed, moving, masks, levels };
}

/** The exact GPU memory of the stage. */
export const planAffine = (fixed: Masked, moving: Masked, setting: AffineSetting): Plan => plan(traceAffine(fixed, moving, setting).graph);

/**
 * Aligns the moving volume to the fixed one in the given mode. Deterministic. Where the headers put a part of the fixed grid outside the
 * moving image, that part may have no counterpart, or the headers may mislead: both are followed, once with that part masked, once without,
 * and the one stays whose NCC is higher where its own transform leaves the images on each other.
 */
export async function alignAffine(
  gpu: Gpu,
  fixed: MaskedVolume,
  moving: MaskedVolume,
  setting: AffineSetting,
  requested: AffineMode,
  signal?: AbortSignal,
): Promise<AffineResult & { memory?: Memory }> {
  const nothing: AffineResult = {
    requested,
    mode: 'none',
    matrix: identityAffine,
    ncc: { before: NaN, after: NaN },
    motion: 0,
    evaluations: 0,
  };
  if (requested === 'none') return nothing;
  const traced = traceAffine(fixed, moving, setting);
  const schedule = await Schedule.build(gpu, traced.graph);
  const memory = { planned: schedule.plan.peak, measured: schedule.ledger.peak };
  const last = traced.levels.length - 1;
  const massOf = (volume: MaskedVolume, mask?: Float32Array) =>
    moments({ ...volume, mask }, volume === fixed ? setting.windows.fixed : setting.windows.moving);
  const whole = { fixed: massOf(fixed), moving: massOf(moving) };
  let evaluations = 0;

  let prepared: Masks | undefined;
  /** Uploads the images with what of them counts, unless they are there. */
  function prepare(masks: Masks): void {
    if (prepared && prepared.fixed === masks.fixed && prepared.moving === masks.moving) return;
    const upload = (tensor: Tensor | undefined, mask: Float32Array | undefined) =>
      tensor && schedule.upload(tensor, mask ?? new Float32Array(numel(tensor.shape)).fill(1));
    schedule.upload(traced.fixed, fixed.data);
    schedule.upload(traced.moving, moving.data);
    upload(traced.masks.fixed, masks.fixed);
    upload(traced.masks.moving, masks.moving);
    schedule.run('prepare');
    prepared = masks;
  }

  /** NCC and its gradient for a kind of step, where masks, or all, of the images count; until others are given. */
  function counting(masks: Masks) {
    prepare(masks);
    const mass = {
      fixed: masks.fixed ? massOf(fixed, masks.fixed) : whole.fixed,
      moving: masks.moving ? massOf(moving, masks.moving) : whole.moving,
    };
    const { centre: c, radius } = mass.fixed;
    /** `sign` −1 for images of which one is like the negative of the other: their NCC falls as they come together. */
    const evaluator = (kind: 'rigid' | 'affine', level: number, sign: number) => {
      const { move, pull } = movesOf(kind, radius);
      const { phase, matrix, reads, fixed: grid } = traced.levels[level];
      const toGrid = invertAffine(grid.affine);
      const evaluate = async (at: Transform): Promise<Point<Transform>> => {
        signal?.throwIfAborted();
        evaluations++;
        schedule.upload(matrix, Float32Array.from(composeAffine(toGrid, composeAffine(toAffine(at, c), grid.affine))));
        const [similarity, g] = await schedule.runAndRead(phase, reads);
        // From voxels to mm: M = F⁻¹·T·F, so dT = F⁻ᵀ·dM·Fᵀ (F homogeneous on the right).
        const dM = [0, 1, 2].map((i) => Array.from(g.slice(4 * i, 4 * i + 4), (x) => sign * x));
        const right = dM.map((row) =>
          [0, 1, 2].map(
            (j) =>
              row[0] * grid.affine[4 * j] +
              row[1] * grid.affine[4 * j + 1] +
              row[2] * grid.affine[4 * j + 2] +
              row[3] * grid.affine[4 * j + 3],
          ),
        );
        const back = transpose(rows(toGrid));
        const dLinear = multiply(back, right as unknown as Matrix3);
        const dShift = times(
          back,
          dM.map((row) => row[3]),
        );
        const centred = dLinear.map((row, i) => row.map((x, j) => x - dShift[i] * c[j])) as unknown as Matrix3;
        return { at, value: sign * similarity[0], gradient: pull(at, centred, dShift) };
      };
      const mm = Math.min(...voxelSpacing(grid.affine));
      const climb = async (from: Transform, iterations: number) =>
        bfgs(await evaluate(from), move, evaluate, { iterations, first: 2 * mm, shortest: 0.02 * mm });
      return { evaluate, climb };
    };
    return { mass, evaluator };
  }

  /** Where a climb begins: NCC on the coarsest level at the headers' place, and at what moments propose. */
  async function begin(masks: Masks) {
    const { mass, evaluator } = counting(masks);
    const { evaluate } = evaluator('rigid', 0, 1);
    const starts: Found[] = [];
    // What counts may not be what corresponds: the whole images as well.
    for (const pair of masks.fixed || masks.moving ? [mass, whole] : [mass])
      for (const start of startsFrom(mass.fixed.centre, pair.fixed, pair.moving)) starts.push(await evaluate(start));
    const unmoved: Found = await evaluate(rest);
    const sign = Math.sign([unmoved, ...starts].reduce((a, b) => (Math.abs(b.value) > Math.abs(a.value) ? b : a)).value) || 1;
    for (const found of [unmoved, ...starts]) found.value *= sign;
    return { mass, unmoved, starts, on: (kind: 'rigid' | 'affine', level: number) => evaluator(kind, level, sign) };
  }

  /** Does something else than the headers' place fit so much better that an alignment is due? */
  async function apart(masks: Masks): Promise<boolean> {
    const { mass, unmoved, starts, on } = await begin(masks);
    const found = highest([await on('rigid', 0).climb(rest, 12), ...starts]);
    return motionOf(found.at, mass.fixed) > FAR * mass.fixed.radius && found.value > unmoved.value + BETTER;
  }

  /** The best transform of a mode by what counts; rigid where an affine one goes astray. */
  async function align(masks: Masks, mode: Exclude<AffineMode, 'none' | 'auto'>) {
    const { mass, starts, on } = await begin(masks);
    const c = mass.fixed.centre;
    if (mode === 'moments') return { mode, matrix: toAffine(highest(starts).at, c) };
    const { climb } = on('rigid', 0);
    const climbed: Found[] = [];
    for (const at of [rest, ...starts.map(({ at }) => at)]) climbed.push(await climb(at, 12));
    const coarse = (await climb(highest(climbed).at, 40)).at;
    const further = async (kind: 'rigid' | 'affine') => {
      let at = coarse;
      for (let level = kind === 'affine' ? 0 : 1; level <= last; level++) at = (await on(kind, level).climb(at, 60)).at;
      return at;
    };
    const stretched = mode === 'affine' && (await further('affine'));
    return stretched && plausible(stretched)
      ? { mode: 'affine' as const, matrix: toAffine(stretched, c) }
      : { mode: 'rigid' as const, matrix: toAffine(await further('rigid'), c) };
  }

  /** NCC before and after a transform, at the finest of the levels, and how far it moves what counts. */
  async function judge(masks: Masks, matrix: Affine) {
    const { mass, evaluator } = counting(masks);
    const { evaluate } = evaluator('rigid', last, 1);
    const at = fromAffine(matrix, mass.fixed.centre);
    return { ncc: { before: (await evaluate(rest)).value, after: (await evaluate(at)).value }, motion: motionOf(at, mass.fixed) };
  }

  try {
    const partial = partly(fixed, moving);
    /** What counts: of the masks, or of all, what is there in both images after a transform, where the headers leave that open. */
    const shared = (masks: Masks, transform = identityAffine): Masks =>
      partial ? { ...masks, fixed: covered({ ...fixed, mask: masks.fixed }, moving, transform) } : masks;
    const own = { fixed: fixed.mask, moving: moving.mask };
    // of whole images: the deformation is there for what a small mask has to move
    if (requested === 'auto' && !(await apart(shared({})))) {
      const { ncc } = await judge(shared(own), identityAffine);
      return { ...nothing, ncc, evaluations, memory };
    }
    const mode = requested === 'auto' ? 'affine' : requested;
    const found = [await align(shared(own), mode), ...(partial ? [await align(own, mode)] : [])];
    const together = found.filter(({ matrix }) => overlap(fixed, moving, matrix) >= LEAST_SHARED);
    const judged = [];
    for (const one of together.length ? together : found) judged.push({ ...one, ...(await judge(shared(own, one.matrix), one.matrix)) });
    const best = judged.reduce((a, b) => (Math.abs(b.ncc.after) > Math.abs(a.ncc.after) ? b : a));
    return { requested, ...best, evaluations, memory };
  } finally {
    schedule.destroy();
  }
}

interface Masks {
  fixed?: Float32Array;
  moving?: Float32Array;
}
/** A transform and how well it fits. */
type Found = Pick<Point<Transform>, 'at' | 'value'>;
const highest = <T extends { value: number }>(all: readonly T[]): T => all.reduce((a, b) => (b.value > a.value ? b : a));
