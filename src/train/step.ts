// One training step of a learned cell on one pair: forward solve, loss, backward, Adam. Traced once, run many times.
import { type Adjoint, type Deq, deq, type DeqOutcome, runDeq } from '../deq/deq.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import type { Schedule } from '../graph/schedule.ts';
import type { Cell, CellOptions } from '../models/cell.ts';
import { type CellName, cells } from '../models/cells.ts';
import {
  adam,
  adamState,
  axpby,
  centre,
  diffusion,
  identity,
  lncc,
  localStatistics,
  resetAdam,
  scale,
  warpWithGradient,
  withGradient,
} from '../ops/index.ts';

/** Width of the LNCC window, in voxels, in the loss and in the cell's force. */
const WINDOW = 5;
const RATE = 3e-3;
const PHANTOM = { steps: 5, damping: 0.5 };
/** A solve ends at this relative residual, or at its step budget. */
const RTOL = 1e-3;

/** A traced step. `phases` is what one step runs, in order; the phase `begin` comes once before all of them. */
export interface TrainingStep {
  graph: Graph;
  fixed: Tensor;
  moving: Tensor;
  cell: Cell;
  node: Deq;
  /** What loss and gradients of the node are multiplied by: with f16, so that a mean's gradients do not vanish in its range. */
  lossScale: number;
  phases: Deq['phases'];
}

/** An adjoint by its name; `steps` is the length of `checkpointed` and `unrolled`. */
export function adjointOf(name: Adjoint['adjoint'], steps: number): Adjoint {
  if (name === 'phantom') return { adjoint: name, ...PHANTOM };
  return name === 'checkpointed' || name === 'unrolled' ? { adjoint: name, steps } : { adjoint: name };
}

export interface TrainingStepOptions extends CellOptions {
  /** Voxels of the images along W, H, D. */
  size: readonly [number, number, number];
  cell: CellName;
  adjoint: Adjoint;
}

/** Traces a step on a pair of images: loss −LNCC + diffusion of f(z*), Anderson with a window of 5, Adam. */
export function traceTrainingStep({ size: [w, h, d], cell: name, adjoint, ...options }: TrainingStepOptions): TrainingStep {
  if (!Object.hasOwn(cells, name)) throw new Error(`traceTrainingStep: cell ${name} is none of ${Object.keys(cells).join(', ')}`);
  const graph = new Graph();
  const lossScale = options.dtype === 'f16' ? w * h * d : 1;
  const [fixed, moving] = [graph.input('fixed', [1, 1, d, h, w]), graph.input('moving', [1, 1, d, h, w])];
  const cell = cells[name](graph, options);
  const weights = [...cell.parameters.tensors.values()];
  const images = graph.phase('images', () => ({
    fixed: localStatistics(fixed, WINDOW),
    moving: withGradient(centre(moving)),
    matrix: identity,
    ratios: [1, 1, 1] as const,
  }));
  const node = deq(graph, 'deq', {
    cell: cell.update(images),
    shape: [1, 3, d, h, w],
    adjoint,
    wrt: weights,
    method: { method: 'anderson', window: 5 },
    loss: (u) => {
      const similarity = lncc(images.fixed, warpWithGradient(images.moving, u).warped, WINDOW);
      return axpby(-lossScale, similarity, lossScale, diffusion(u));
    },
  });
  const states = weights.map((t) => adamState(t));
  graph.phase('begin', () => states.forEach(resetAdam));
  graph.phase('update', () =>
    states.forEach((state, i) =>
      adam(state, lossScale === 1 ? node.gradients[i]! : scale(node.gradients[i]!, 1 / lossScale), { rate: RATE }),
    ),
  );
  return { graph, fixed, moving, cell, node, lossScale, phases: ['images', ...node.phases, 'update'] };
}

/** Sets the weights to the initial values of a seed and Adam to its start. */
export function beginTraining(schedule: Schedule, { cell: { parameters } }: TrainingStep, seed: number): void {
  parameters.upload(schedule, parameters.initial(seed));
  schedule.run('begin');
}

/**
 * Runs one step on a pair, [D, H, W] each, and waits for it. `maxIterations` bounds the forward and the backward solve alike.
 * The loss is that of the weights before the step.
 */
export async function runTrainingStep(
  schedule: Schedule,
  { fixed, moving, node, lossScale, phases }: TrainingStep,
  pair: { fixed: Float32Array; moving: Float32Array },
  maxIterations: number,
): Promise<DeqOutcome & { loss: number }> {
  schedule.upload(fixed, pair.fixed); // before every step: inputs give their memory to later phases
  schedule.upload(moving, pair.moving);
  const rule = { maxIterations, rtol: RTOL, atol: 0, patience: maxIterations, divergence: Infinity };
  const outcome = await runDeq(schedule, { ...node, phases }, { forward: rule, backward: rule });
  const [loss] = await schedule.read(node.loss);
  return { loss: loss! / lossScale, ...outcome };
}
