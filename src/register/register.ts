// register(): two volumes in, a displacement out.
import { iterate, type Outcome, type Step, type StopRule } from '../deq/solver.ts';
import { type Plan, plan } from '../graph/plan.ts';
import { Schedule } from '../graph/schedule.ts';
import type { Gpu } from '../gpu/device.ts';
import { type Affine, composeAffine, identityAffine } from '../io/affine.ts';
import { checkedImage, checkGeometry, gridOf, smallest, type Float32Volume, type MaskedVolume } from '../io/volume.ts';
import { alignAffine, type AffineResult, type Memory, planAffine } from './affine.ts';
import { turnOf } from './affine-steps.ts';
import { doubts } from './doubts.ts';
import { type IntensityWindow, intensityWindow } from './intensity.ts';
import { type Described, type RegisterOptions, type RegistrationMethod, resolveOptions, type ResolvedOptions } from './options.ts';
import { checkOverlap, covered, overlap, placed, reachesOut } from './overlap.ts';
import { within } from './region.ts';
import { FINISH, PREPARE, type TracedLevel, traceRegistration } from './trace.ts';

/** Told when a stage begins, and of every evaluation of the update. `fraction`: how much is done, 0…1, which never falls. */
export type Progress = { stage: 'affine' | 'prepare' | 'finish'; fraction: number } | Evaluation;

/** Residual: RMS of f(u) − u in voxels of the level's grid; similarity: mean LNCC. */
export interface Evaluation {
  stage: 'level' | 'refine';
  fraction: number;
  /** From 1; the refinement counts as one more level. */
  level: number;
  levels: number;
  factor: number;
  iteration: number;
  maxIterations: number;
  residual: number;
  similarity: number;
}

/**
 * What a level is taken to need, in evaluations, to foretell how much is left: brains take 17 to 38 to their tolerance
 * (bench/results/registration.csv).
 */
const USUAL = 20;

/** How far a level is, 0…1: by its evaluations, or by how far its residual has come on its way to the tolerance. */
const levelFraction = ({ iteration, residual }: Step, first: number, { maxIterations, atol }: StopRule): number =>
  Math.min(1, Math.max(iteration / maxIterations, atol > 0 && residual < first ? Math.log(residual / first) / Math.log(atol / first) : 0));

export interface LevelResult extends Outcome {
  factor: number;
  /** `refine`: a few evaluations that end a registration, for detail, not for a fixed point. */
  stage?: 'refine';
  maxIterations: number;
  /** RMS of f(u) − u below which it was to end, in voxels of its grid. */
  tolerance: number;
  size: readonly number[];
  similarities: number[];
}

export interface Registration {
  /** [3, D, H, W], channels (i, j, k), in voxels of the fixed grid: warped(p) = moving(p + u(p)). */
  displacement: Float32Array;
  /** The moving image on the fixed grid, trilinear, intensities untouched; its smallest value where it has no voxels. */
  warped: Float32Volume;
  levels: LevelResult[];
  /** The alignment before the deformation; `displacement` contains it. */
  affine: AffineResult;
  /** Share of the fixed grid that lies in the moving image after the alignment; below 0.99 the similarity counts only there. */
  coverage: number;
  /** Mean LNCC on the finest level's grid, in its window. */
  similarity: { before: number; after: number };
  options: ResolvedOptions;
  intensities: { fixed: IntensityWindow; moving: IntensityWindow };
  /** Why the result may not be one, a sentence each: nothing to compare, images that fit no better than before, and the like. */
  warnings: string[];
  seconds: { affine: number; prepare: number; solve: number; finish: number };
  memory: Memory;
}

/**
 * The exact GPU memory a registration will take, without a device. The images count as where their headers, or `initial`, put them: where
 * an alignment leaves a part of the fixed grid outside the moving image, a mask comes in.
 */
export function planRegistration(
  fixed: Described,
  moving: Described,
  options: RegisterOptions = {},
): { plan: Plan; options: ResolvedOptions } {
  checkGeometry('fixed', fixed);
  checkGeometry('moving', moving);
  const resolved = resolveOptions(options, fixed);
  const part = { ...within(gridOf(fixed), resolved.region), mask: fixed.mask };
  const any: IntensityWindow = { modality: 'mri', low: 0, high: 1 };
  const windows = { fixed: any, moving: any },
    masks = { fixed: !!fixed.mask, moving: !!moving.mask };
  const transform = transformOf(resolved);
  const counted = { ...masks, fixed: masks.fixed || reachesOut(part, moving, transform) };
  const stages = [plan(traceRegistration(fixed, moving, resolved, { windows, masks: counted, model: options.model, transform }).graph)];
  if (resolved.affine !== 'none') {
    // one stage after the other: the larger one counts
    stages.push(planAffine(part, placed(moving, resolved.initial), { windows, factors: affineFactors(resolved) }));
  }
  return { plan: stages.reduce((a, b) => (b.peak.total > a.peak.total ? b : a)), options: resolved };
}

/**
 * Registers a moving volume to a fixed one; masks say where each counts. Throws on volumes that cannot be registered (non-finite, constant,
 * not overlapping) and on options out of range; how the solver ended is in `levels`, as data. The volumes are read until the promise
 * settles. What `onProgress` throws, or a promise of it rejects with, ends the registration, as `signal` does; it is not awaited.
 */
export async function register(
  gpu: Gpu,
  fixedImage: MaskedVolume,
  movingImage: MaskedVolume,
  options: RegisterOptions = {},
  onProgress?: (progress: Progress) => void | Promise<void>,
): Promise<Registration> {
  const started = performance.now();
  const [fixed, moving] = [checkedImage('fixed', fixedImage), checkedImage('moving', movingImage)];
  const resolved = resolveOptions(options, fixed);
  const part = within(fixed, resolved.region);
  const { signal } = options;
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw new Error(`register: onProgress must be a function, got ${onProgress}`);
  let failed: { error: unknown } | undefined;
  const throwIfEnded = () => {
    signal?.throwIfAborted();
    if (failed) throw failed.error;
  };
  const tell = (progress: Progress) => {
    throwIfEnded();
    const told: unknown = onProgress?.(progress);
    if (told instanceof Promise) told.catch((error: unknown) => (failed = { error }));
  };
  const begin = (stage: 'affine' | 'prepare' | 'finish', fraction: number) => tell({ stage, fraction });
  const start = placed(moving, resolved.initial);
  if (resolved.affine === 'auto' || resolved.affine === 'none') checkOverlap(fixed, start);
  const windowOf = ({ data, mask }: MaskedVolume) => intensityWindow(data, resolved.modality, mask);
  const intensities = { fixed: windowOf(fixed), moving: windowOf(moving) };
  if (options.modality !== resolved.modality) checkModality(resolved, fixed, moving); // chosen by the model, not by the caller
  begin('affine', 0);
  const setting = { windows: intensities, factors: affineFactors(resolved) };
  const { memory: aligning, ...found } = await alignAffine(gpu, part, start, setting, resolved.affine, signal);
  const aligned = performance.now();
  const affine = { ...found, matrix: composeAffine(resolved.initial ?? identityAffine, found.matrix) };
  const transform = transformOf(resolved, affine.matrix);
  // Beyond its border the moving image goes on as at the border, which looks like something to be matched: what is known to lie there is
  // masked.
  const mask = reachesOut(part, moving, transform) ? covered(part, moving, transform) : part.mask;
  const traced = traceRegistration(fixed, moving, resolved, {
    windows: intensities,
    masks: { fixed: !!mask, moving: !!moving.mask },
    background: smallest(moving.data),
    model: options.model,
    transform,
  });
  begin('prepare', 0);
  const schedule = await Schedule.build(gpu, traced.graph);
  try {
    const solving = { planned: schedule.plan.peak, measured: schedule.ledger.peak };
    schedule.upload(traced.fixed, part.data);
    schedule.upload(traced.moving, moving.data);
    if (mask) schedule.upload(traced.masks.fixed!, mask);
    if (moving.mask) schedule.upload(traced.masks.moving!, moving.mask);
    traced.parameters?.upload(schedule, options.model!.values);
    schedule.run(PREPARE);
    await gpu.idle();
    const prepared = performance.now();

    const levels = await solveLevels(schedule, traced.levels, resolved.method, tell);
    const solved = performance.now();

    begin('finish', 1);
    schedule.run(FINISH);
    const n = fixed.data.length;
    const displacement = new Float32Array(3 * n);
    for (const [c, component] of traced.displacement.entries()) {
      await schedule.read(component, displacement.subarray(c * n, (c + 1) * n));
      throwIfEnded();
    }
    const warped = await schedule.read(traced.warped);
    const [before] = await schedule.read(traced.similarity.before);
    const [after] = await schedule.read(traced.similarity.after);
    throwIfEnded();
    const shared = overlap(fixed, moving, transform);
    const similarity = { before, after };
    return {
      displacement,
      warped: { ...gridOf(fixed), data: warped, dtype: 'float32' },
      levels,
      affine,
      coverage: shared,
      similarity,
      options: resolved,
      intensities,
      warnings: doubts(
        { coverage: shared, similarity, intensities, levels, affine },
        { covered: overlap(fixed, start), turn: turnOf(found.matrix) },
      ),
      seconds: {
        affine: (aligned - started) / 1e3,
        prepare: (prepared - aligned) / 1e3,
        solve: (solved - prepared) / 1e3,
        finish: (performance.now() - solved) / 1e3,
      },
      memory: aligning && aligning.planned.total > solving.planned.total ? aligning : solving, // one stage after the other: the larger one counts
    };
  } finally {
    schedule.destroy();
  }
}

/** Runs the levels, coarse to fine: each starts from the result of the one before. `tell` hears of every evaluation. */
async function solveLevels(
  schedule: Schedule,
  traced: readonly TracedLevel[],
  method: RegistrationMethod,
  tell: (progress: Progress) => void,
): Promise<LevelResult[]> {
  const levels: LevelResult[] = [];
  const work = traced.map(({ iteration, maxIterations }) => iteration.size * Math.min(maxIterations, USUAL));
  const all = work.reduce((a, b) => a + b);
  let done = 0,
    fraction = 0;
  for (const [i, { factor, stage, grid, iteration, maxIterations, tolerance }] of traced.entries()) {
    const similarities: number[] = [];
    schedule.run(`${iteration.name}.images`);
    const rule = {
      maxIterations,
      rtol: 0,
      atol: tolerance,
      patience: maxIterations,
      divergence: method === 'adam' ? Infinity : undefined,
    };
    let first = 0;
    const outcome = await iterate(schedule, iteration, rule, (step) => {
      similarities.push(step.monitor!);
      if (step.iteration === 1) first = step.residual;
      fraction = Math.max(fraction, (done + work[i] * levelFraction(step, first, rule)) / all);
      tell({
        stage: stage ?? 'level',
        fraction,
        level: i + 1,
        levels: traced.length,
        factor,
        iteration: step.iteration,
        maxIterations,
        residual: step.residual,
        similarity: step.monitor!,
      });
    });
    done += work[i];
    // Adam's result is where it ended, the others' the iterate of the smallest residual.
    const residual = method === 'adam' ? outcome.residuals.at(-1)! : outcome.residual;
    levels.push({ factor, ...(stage && { stage }), size: grid.size, maxIterations, tolerance, ...outcome, residual, similarities });
  }
  return levels;
}

/** The alignment that a deformation starts from, of `initial` and the one found after it; none where the headers alone count. */
const transformOf = ({ affine, initial = identityAffine }: ResolvedOptions, aligned = initial): Affine | undefined =>
  affine === 'none' && initial === identityAffine ? undefined : aligned;

/** CT is known by its air; a model trained on something else would see it through a window that was never meant. */
function checkModality({ modality }: ResolvedOptions, fixed: MaskedVolume, moving: MaskedVolume): void {
  for (const [name, { data, mask }] of Object.entries({ fixed, moving }))
    if (modality === 'mri' && intensityWindow(data, 'auto', mask).modality === 'ct')
      throw new Error(
        `${name}: its values look like CT (many below −500), the model was trained on mri; if they are not, say modality mri`,
      );
}

/** The affine stage works on the two coarsest levels. */
const affineFactors = ({ levels }: ResolvedOptions): readonly number[] => levels.slice(0, 2);
