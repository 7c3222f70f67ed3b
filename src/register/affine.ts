// The affine stage: centre and axes from moments, then 6 or 12 parameters by gradient ascent on NCC, coarse to fine, through the same
// warp and similarity kernels as everything else. The kernels give the gradient for a matrix; a few parameters are climbed on the CPU.
import { Schedule } from '../graph/schedule.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import { plan, type Plan } from '../graph/plan.ts';
import type { Gpu } from '../gpu/device.ts';
import { applyAffine, type Affine, composeAffine, identityAffine, invertAffine, type Vec3, voxelSpacing } from '../io/affine.ts';
import type { Grid, MaskedVolume } from '../io/volume.ts';
import { affineField, grad, intensityWindow as windowed, mul, ncc, resize, warp } from '../ops/index.ts';
import { bfgs, type Point } from './bfgs.ts';
import type { IntensityWindow } from './intensity.ts';
import { type Matrix3, type Moments, moments, multiply, rows, transpose } from './moments.ts';
import { type Level, levelGrid, levelSpacing, shapeOf } from './pyramid.ts';

export const affineModes = ['auto', 'none', 'moments', 'rigid', 'affine'] as const;
/** `auto`: `affine` when the images start far apart, otherwise `none`. `moments`: centre and axes only. */
export type AffineMode = (typeof affineModes)[number];

export interface AffineResult {
  requested: AffineMode;
  mode: Exclude<AffineMode, 'auto'>;
  /** Fixed point → moving point, RAS mm, 3×4. */
  matrix: Affine;
  /** Global NCC at the finest of the affine levels, before and after. */
  ncc: { before: number; after: number };
  /** Mean distance, mm, by which the transform moves the fixed image's mass. */
  motion: number;
  /** Evaluations of NCC and its gradient. */
  evaluations: number;
}

/** `auto` aligns first when a coarse rigid alignment moves the mass by more than this share of its radius … */
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

/**
 * Windows of the raw intensities, and which levels (factors) the stage works on: the two coarsest. A mask of the fixed image weighs NCC; what a mask of the moving image leaves out is set to 0. */
export interface AffineSetting {
  windows: { fixed: IntensityWindow; moving: IntensityWindow };
  factors: readonly number[];
  masks?: { fixed: boolean; moving: boolean };
}

export function traceAffine(fixedGrid: Grid, movingGrid: Grid, { windows, factors, masks: given }: AffineSetting): TracedAffine {
  const graph = new Graph();
  const [fixed, moving] = [graph.input('fixed', [1, 1, ...shapeOf(fixedGrid)]), graph.input('moving', [1, 1, ...shapeOf(movingGrid)])];
  const masks = {
    fixed: given?.fixed ? graph.input('fixed mask', fixed.shape) : undefined,
    moving: given?.moving ? graph.input('moving mask', moving.shape) : undefined,
  };
  const grids = factors.map((factor) => ({
    factor,
    fixed: levelGrid(fixedGrid, levelSpacing(fixedGrid, factor)),
    moving: levelGrid(movingGrid, levelSpacing(fixedGrid, factor)),
  }));
  const images = graph.phase('prepare', () => {
    const f = windowed(fixed, windows.fixed.low, windows.fixed.high);
    const m = windowed(moving, windows.moving.low, windows.moving.high);
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
    const { f, m, weight } = images[i]!;
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
export const planAffine = (fixed: Grid, moving: Grid, setting: AffineSetting): Plan => plan(traceAffine(fixed, moving, setting).graph);

/** x ↦ A(x − c) + c + t in RAS mm, c the fixed image's centre of mass. */
interface Transform {
  linear: Matrix3;
  shift: Vec3;
}

const I3: Matrix3 = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];
const times = (a: Matrix3, x: readonly number[]): Vec3 => a.map((row) => row[0] * x[0]! + row[1] * x[1]! + row[2] * x[2]!) as Vec3;

function toAffine({ linear, shift }: Transform, c: Vec3): Affine {
  const moved = times(linear, c);
  return linear.flatMap((row, i) => [...row, c[i]! + shift[i]! - moved[i]!]);
}

/** exp of the cross product matrix of a rotation vector (Rodrigues). */
function rotation(v: readonly number[]): Matrix3 {
  const angle = Math.hypot(...v);
  if (angle === 0) return I3;
  const [x, y, z] = v.map((c) => c / angle) as [number, number, number];
  const [c, s] = [Math.cos(angle), Math.sin(angle)],
    k = 1 - c;
  return [
    [c + x * x * k, x * y * k - z * s, x * z * k + y * s],
    [y * x * k + z * s, c + y * y * k, y * z * k - x * s],
    [z * x * k - y * s, z * y * k + x * s, c + z * z * k],
  ];
}

/** The steps of a kind of transform: a parameter of 1 moves the object's surface by about 1 mm. */
function movesOf(kind: 'rigid' | 'affine', radius: number) {
  const move = ({ linear, shift }: Transform, step: number[]): Transform => ({
    shift: shift.map((s, i) => s + step[i]!) as Vec3,
    linear:
      kind === 'rigid'
        ? multiply(rotation(step.slice(3).map((x) => x / radius)), linear)
        : (linear.map((row, i) => row.map((x, j) => x + step[3 + 3 * i + j]! / radius)) as unknown as Matrix3),
  });
  /** Gradient for the step's parameters, from that for A (3×3) and t. */
  const pull = ({ linear }: Transform, dLinear: Matrix3, dShift: Vec3): number[] => {
    if (kind === 'affine') return [...dShift, ...dLinear.flatMap((row) => row.map((x) => x / radius))];
    const torque = multiply(dLinear, transpose(linear)); // ⟨dA, [e]× A⟩ = ⟨dA Aᵀ, [e]×⟩
    return [
      ...dShift,
      (torque[2][1] - torque[1][2]) / radius,
      (torque[0][2] - torque[2][0]) / radius,
      (torque[1][0] - torque[0][1]) / radius,
    ];
  };
  return { move, pull };
}

/** Aligns the moving volume to the fixed one in the given mode. Deterministic. */
export async function alignAffine(
  gpu: Gpu,
  fixed: MaskedVolume,
  moving: MaskedVolume,
  setting: AffineSetting,
  requested: AffineMode,
): Promise<AffineResult> {
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
  try {
    schedule.upload(traced.fixed, fixed.data);
    schedule.upload(traced.moving, moving.data);
    if (fixed.mask) schedule.upload(traced.masks.fixed!, fixed.mask);
    if (moving.mask) schedule.upload(traced.masks.moving!, moving.mask);
    schedule.run('prepare');
    const mass = { fixed: moments(fixed, setting.windows.fixed), moving: moments(moving, setting.windows.moving) };
    const { centre: c, radius } = mass.fixed;
    let evaluations = 0;

    const evaluator =
      (level: number, pull: ReturnType<typeof movesOf>['pull']) =>
      async (at: Transform): Promise<Point<Transform>> => {
        const { phase, matrix, reads, fixed: grid } = traced.levels[level]!;
        evaluations++;
        const toGrid = invertAffine(grid.affine);
        schedule.upload(matrix, Float32Array.from(composeAffine(toGrid, composeAffine(toAffine(at, c), grid.affine))));
        const [similarity, g] = await schedule.runAndRead(phase, reads);
        // From voxels to mm: M = F⁻¹·T·F, so dT = F⁻ᵀ·dM·Fᵀ (F homogeneous on the right).
        const dM = [0, 1, 2].map((i) => Array.from(g!.slice(4 * i, 4 * i + 4)));
        const right = dM.map((row) =>
          [0, 1, 2].map(
            (j) =>
              row[0]! * grid.affine[4 * j]! +
              row[1]! * grid.affine[4 * j + 1]! +
              row[2]! * grid.affine[4 * j + 2]! +
              row[3]! * grid.affine[4 * j + 3]!,
          ),
        );
        const back = transpose(rows(toGrid));
        const dLinear = multiply(back, right as unknown as Matrix3);
        const dShift = times(
          back,
          dM.map((row) => row[3]!),
        );
        const centred = dLinear.map((row, i) => row.map((x, j) => x - dShift[i]! * c[j]!)) as unknown as Matrix3;
        return { at, value: similarity![0]!, gradient: pull(at, centred, dShift) };
      };
    const climb = async (kind: 'rigid' | 'affine', level: number, from: Transform | Point<Transform>, iterations: number) => {
      const { move, pull } = movesOf(kind, radius);
      const evaluate = evaluator(level, pull);
      const mm = Math.min(...voxelSpacing(traced.levels[level]!.fixed.affine));
      return bfgs('value' in from ? from : await evaluate(from), move, evaluate, { iterations, first: 2 * mm, shortest: 0.02 * mm });
    };

    const rest: Transform = { linear: I3, shift: [0, 0, 0] };
    const look = evaluator(0, movesOf('rigid', radius).pull);
    const highest = (points: Point<Transform>[]) => points.reduce((a, b) => (b.value > a.value ? b : a));
    const starts: Point<Transform>[] = [];
    const pairs = [mass];
    if (fixed.mask || moving.mask) {
      // what counts may not be what corresponds: the whole images as well
      const whole = (volume: MaskedVolume, window: IntensityWindow) => moments({ ...volume, mask: undefined }, window);
      pairs.push({ fixed: whole(fixed, setting.windows.fixed), moving: whole(moving, setting.windows.moving) });
    }
    for (const pair of pairs) for (const start of startsFrom(c, pair.fixed, pair.moving)) starts.push(await look(start));
    const unmoved = await look(rest);
    const nearby = requested === 'moments' ? unmoved : await climb('rigid', 0, unmoved, 12);
    if (requested === 'auto') {
      const found = highest([nearby, ...starts]);
      const far = motionOf(found.at, mass.fixed) > FAR * radius && found.value > unmoved.value + BETTER;
      if (!far) return { ...nothing, ncc: { before: unmoved.value, after: unmoved.value }, evaluations };
    }
    const climbed = [nearby];
    if (requested !== 'moments') for (const start of starts) climbed.push(await climb('rigid', 0, start, 12));
    const start = highest(requested === 'moments' ? starts : climbed);
    let best = start.at;
    const mode = requested === 'auto' ? 'affine' : requested;
    const last = traced.levels.length - 1;
    if (mode !== 'moments') {
      best = (await climb('rigid', 0, start, 40)).at;
      for (let level = mode === 'affine' ? 0 : 1; level <= last; level++) best = (await climb(mode, level, best, 60)).at;
    }
    const final = evaluator(last, movesOf('rigid', radius).pull);
    const ncc = { before: (await final(rest)).value, after: (await final(best)).value };
    return { requested, mode, matrix: toAffine(best, c), ncc, motion: motionOf(best, mass.fixed), evaluations };
  } finally {
    schedule.destroy();
  }
}

/** Starts by moments: the centres brought together, alone and with the four proper ways to lay the principal axes on each other. */
function startsFrom(c: Vec3, fixed: Moments, moving: Moments): Transform[] {
  const turns = [
    [1, 1, 1],
    [1, -1, -1],
    [-1, 1, -1],
    [-1, -1, 1],
  ].map((signs) => multiply(transpose(moving.axes), fixed.axes.map((axis, i) => axis.map((x) => signs[i]! * x)) as unknown as Matrix3));
  return [I3, ...turns].map((linear) => {
    const offset = times(
      linear,
      c.map((x, i) => x - fixed.centre[i]!),
    ); // of c from the fixed centre, which goes to the moving one
    return { linear, shift: moving.centre.map((x, i) => x + offset[i]! - c[i]!) as Vec3 };
  });
}

/** Mean distance over points spread like the object: ±radius along each axis about its centre. */
function motionOf(transform: Transform, { centre: c, radius }: Moments): number {
  const matrix = toAffine(transform, c);
  const points = [0, 1, 2].flatMap((axis) => [-1, 1].map((sign) => c.map((x, i) => x + (i === axis ? sign * radius : 0))));
  return points.reduce((sum, p) => sum + Math.hypot(...applyAffine(matrix, p).map((x, i) => x - p[i]!)), 0) / points.length;
}
