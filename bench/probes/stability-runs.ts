// Runs of the stability bench: what is run (models, pairs), and one model by one solver on one pair, for multiples of its training
// evaluations.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ModelFile, readModelFile } from '../../src/cli/models.ts';
import { andersonOptions, iterate, type Method, type Outcome } from '../../src/deq/solver.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { Graph, type Shape, type Tensor } from '../../src/graph/graph.ts';
import { Schedule } from '../../src/graph/schedule.ts';
import { composeAffine, invertAffine, voxelToVoxel } from '../../src/io/affine.ts';
import type { Volume } from '../../src/io/volume.ts';
import type { Model } from '../../src/models/cells.ts';
import { readVolume } from '../../src/node.ts';
import { identity, warpFull } from '../../src/ops/index.ts';
import { alignAffine } from '../../src/register/affine.ts';
import { type IntensityWindow, intensityWindow } from '../../src/register/intensity.ts';
import { dice, jacobianStats, presentLabels, warpLabels } from '../../src/register/metrics.ts';
import type { ModelCard } from '../../src/register/model.ts';
import { resolveOptions, type ResolvedOptions } from '../../src/register/options.ts';
import { shapeOf } from '../../src/register/pyramid.ts';
import { FINISH, PREPARE, SOLVER, traceRegistration } from '../../src/register/trace.ts';
import { brainGroups, type Case, realCases } from '../../test/data.ts';
import { CLASSICAL, type Row, type Solver } from '../claims.ts';

const { beta } = andersonOptions(SOLVER);
export const SOLVERS: Record<Solver, Method> = {
  Anderson: SOLVER,
  damped: { method: 'picard', damping: beta },
  plain: { method: 'picard' },
};
/** Levels that models are trained for, where they do not say; of `--quick`, the first two. */
export const LEVELS = [8, 4, 2];
const SHIPPED = 'weights/brain-mri.safetensors';

export interface Subject {
  kind: string;
  seed: number | null;
  /** Evaluations of the cell on a level while it was trained. */
  trained: number;
  /** Training step that its weights are of. */
  step?: number;
  /** The finest level that those weights were trained on. */
  finest?: number;
  model?: Model;
  levels: readonly number[];
}

/** The shipped model, and those of a folder that register MRI, DEQs first; then the classical cell. The same weights count once. */
export async function subjects(folder: string): Promise<Subject[]> {
  const inFolder = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.safetensors')) : [];
  const files = await Promise.all([SHIPPED, ...inFolder.sort().map((name) => join(folder, name))].map(readModelFile));
  const distinct = files.filter(({ sha256, model }, i) => model.modality === 'mri' && files.findIndex((f) => f.sha256 === sha256) === i);
  const trained = distinct.map(({ model, card }: ModelFile): Subject & { unrolled: number } => {
    const unrolled = card.adjoint.startsWith('unrolled') || card.adjoint.startsWith('checkpointed');
    const { evaluations } = card;
    const levels = Array.isArray(card.validation.levels) ? (card.validation.levels as number[]) : LEVELS;
    return {
      kind: unrolled ? `unrolled T = ${evaluations}` : `DEQ (${card.adjoint})`,
      seed: card.seed,
      trained: evaluations,
      step: card.steps,
      finest: finestTrained(card),
      model,
      levels,
      unrolled: unrolled ? evaluations : 0,
    };
  });
  trained.sort((a, b) => a.unrolled - b.unrolled || (a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : a.seed! - b.seed!));
  return [...trained, { kind: CLASSICAL, seed: null, trained: 20, levels: LEVELS }];
}

/** The finest level of the stages up to a card's step, as its command tells them; none where it does not. */
export function finestTrained({ command, steps }: Pick<ModelCard, 'command' | 'steps'>): number | undefined {
  let done = 0;
  const before: number[] = [];
  for (const [, count, levels] of command.matchAll(/(\d+) steps at ((?:1\/\d+(?:, )?)+)/g)) {
    if (done < steps) before.push(...[...levels.matchAll(/1\/(\d+)/g)].map(([, factor]) => Number(factor)));
    done += Number(count);
  }
  return before.length ? Math.min(...before) : undefined;
}

/** The pairs, the labelled validation pair first: no model was trained on a subject of the first two. */
export function pairsOf(count: number): Case[] {
  const all = [...realCases(), ...Object.values(brainGroups()).flat()];
  const names = ['subA/subB', 'sub08/sub09', 'sub03/sub08', 'sub02/sub09'];
  return names.flatMap((name) => all.find((c) => c.name === `brain ${name}`) ?? []).slice(0, count);
}

export interface Images {
  name: string;
  fixed: Volume;
  moving: Volume;
  fixedSeg: Volume;
  movingSeg: Volume;
  labels: number[];
  windows: { fixed: IntensityWindow; moving: IntensityWindow };
  transform: number[];
  before: number;
}

export async function readPair(gpu: Gpu, c: Case): Promise<Images> {
  const [fixed, moving, fixedSeg, movingSeg] = (await Promise.all([c.fixed, c.moving, c.fixedSeg, c.movingSeg].map(readVolume))) as [
    Volume,
    Volume,
    Volume,
    Volume,
  ];
  const windows = { fixed: intensityWindow(fixed.data), moving: intensityWindow(moving.data) };
  const { matrix } = await alignAffine(gpu, fixed, moving, { windows, factors: LEVELS.slice(0, 2) }, 'auto');
  const labels = presentLabels(fixedSeg.data, movingSeg.data, c.labels);
  const images = { name: c.name, fixed, moving, fixedSeg, movingSeg, labels, windows, transform: [...matrix] };
  return { ...images, before: overlapOf(images, new Float32Array(3 * fixed.data.length)) };
}

function overlapOf({ fixed, moving, fixedSeg, movingSeg, labels }: Omit<Images, 'before'>, u: Float32Array): number {
  const warped = warpLabels(movingSeg.data, moving.size, u, fixed.size, voxelToVoxel(fixed.affine, moving.affine));
  return dice(fixedSeg.data, warped, labels).mean;
}

/** Voxels inside the labels where the displacement folds, in percent. */
const foldsOf = (u: Float32Array, { size, data }: Volume): number => jacobianStats(u, size, data).mask.foldingPercent;

/** A subject's options on some of its levels. */
function optionsOf({ model, levels: own }: Subject, levels: readonly number[], fixed: Volume): ResolvedOptions {
  const resolved = resolveOptions({ ...(model ? { method: 'deq', model } : { method: 'equilibrium' }), levels: own }, fixed);
  const missing = levels.filter((factor) => !own.includes(factor));
  if (missing.length) throw new Error(`--levels: a model of levels ${own.join(', ')} has no level ${missing.join(', ')}`);
  const of = (list: readonly number[]) => (list.length ? levels.map((factor) => list[own.indexOf(factor)]) : list);
  const { iterations, tolerance, lambda } = resolved;
  return { ...resolved, levels, iterations: of(iterations), tolerance: of(tolerance), lambda: of(lambda) };
}

/** Runs one subject by one solver on one pair: a row a multiple, and the finest level's residuals of the longest run. */
export async function measure(
  gpu: Gpu,
  images: Images,
  subject: Subject,
  solver: Solver,
  levels: readonly number[],
  multiples: readonly number[],
): Promise<{ rows: Row[]; residuals: number[] }> {
  const { fixed, moving, fixedSeg, windows, transform, before } = images;
  const options = optionsOf(subject, levels, fixed);
  const { model } = subject;
  const traced = traceRegistration(fixed, moving, options, {
    windows,
    model,
    transform,
    solver: { method: SOLVERS[solver], ends: solver === 'Anderson' ? 'best' : 'last' },
  });
  const finest = traced.levels.at(-1)!;
  const { z, best } = finest.iteration;
  [z, best].forEach((t) => traced.graph.output(t));
  const schedule = await Schedule.build(gpu, traced.graph);
  const finish = await finisher(gpu, images, finest.value.shape);
  const rows: Row[] = [];
  let residuals: number[] = [];
  try {
    for (const multiple of multiples) {
      const iterations = multiple * subject.trained;
      schedule.upload(traced.fixed, fixed.data);
      schedule.upload(traced.moving, moving.data);
      if (model) traced.parameters!.upload(schedule, model.values);
      schedule.run(PREPARE);
      let outcome: Outcome | undefined;
      for (const { iteration } of traced.levels) {
        if (solver !== 'Anderson' && outcome?.result === 'non-finite') break;
        schedule.run(`${iteration.name}.images`);
        // Nothing ends a level before its evaluations but a value that is not finite (or a residual of 0, which stays).
        const rule = { maxIterations: iterations, rtol: 0, atol: 0, patience: Infinity, divergence: Infinity };
        outcome = await iterate(schedule, iteration, rule);
      }
      residuals = outcome!.residuals;
      const finite = outcome!.result !== 'non-finite';
      const measured = async (u: Tensor, residual: number) => {
        const field = await finish.apply(await schedule.read(u));
        return { dice: overlapOf(images, field), folds: foldsOf(field, fixedSeg), residual };
      };
      const last = finite ? await measured(z, residuals.at(-1)!) : { dice: null, folds: null, residual: null };
      rows.push({
        pair: images.name,
        model: subject.kind,
        seed: subject.seed,
        solver,
        multiple,
        iterations,
        ...(solver === 'Anderson' ? await measured(best, outcome!.residual) : last),
        tolerance: options.tolerance.at(-1)!,
        lastDice: last.dice,
        lastResidual: last.residual,
        before,
      });
    }
  } finally {
    schedule.destroy();
    finish.destroy();
  }
  return { rows, residuals };
}

/** A level's field as the whole displacement at full resolution, [3, D, H, W] in voxels of the fixed grid. */
async function finisher(gpu: Gpu, { fixed, transform }: Images, shape: Shape) {
  const graph = new Graph();
  const u = graph.input('u', shape);
  const image = graph.input('image', [1, 1, ...shapeOf(fixed)]);
  const toFixed = composeAffine(invertAffine(fixed.affine), composeAffine(transform, fixed.affine));
  const displacement = graph.phase(FINISH, () => {
    const { displacement } = warpFull(u, image, shapeOf(fixed), toFixed, identity, 0);
    return displacement.map((t) => graph.output(t));
  });
  const schedule = await Schedule.build(gpu, graph);
  return {
    async apply(value: Float32Array): Promise<Float32Array> {
      schedule.upload(u, value);
      schedule.upload(image, fixed.data);
      schedule.run(FINISH);
      const all = new Float32Array(3 * fixed.data.length);
      for (const [c, component] of displacement.entries()) all.set(await schedule.read(component), c * fixed.data.length);
      return all;
    },
    destroy: () => schedule.destroy(),
  };
}
