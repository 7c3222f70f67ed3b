// One training step of the learned cell on one pair: forward solve, loss, backward, Adam. Traced once, run many times.
import { type Adjoint, type Deq, deq, type DeqOutcome, runDeq } from '../deq/deq.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import type { Schedule } from '../graph/schedule.ts';
import { deqregCell, DeqregWeights } from '../models/deqreg.ts';
import {
  adam,
  adamState,
  add,
  centre,
  diffusion,
  identity,
  lncc,
  localStatistics,
  resetAdam,
  scale,
  warp,
  withGradient,
} from '../ops/index.ts';

export const adjoints = ['implicit', 'jfb', 'phantom', 'checkpointed', 'unrolled'] as const;

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
  weights: DeqregWeights;
  node: Deq;
  phases: Deq['phases'];
}

/** An adjoint by its name; `steps` is the length of `checkpointed` and `unrolled`. */
export function adjointOf(name: (typeof adjoints)[number], steps: number): Adjoint {
  if (name === 'phantom') return { adjoint: name, ...PHANTOM };
  return name === 'checkpointed' || name === 'unrolled' ? { adjoint: name, steps } : { adjoint: name };
}

/** Traces a step of the deqreg cell for images of (W, H, D) voxels: loss −LNCC + diffusion, Anderson with a window of 5. */
export function traceTrainingStep([w, h, d]: readonly [number, number, number], channels: number, adjoint: Adjoint): TrainingStep {
  const graph = new Graph();
  const [fixed, moving] = [graph.input('fixed', [1, 1, d, h, w]), graph.input('moving', [1, 1, d, h, w])];
  const weights = new DeqregWeights(graph, channels);
  const images = graph.phase('images', () => {
    const still = centre(moving);
    return {
      still,
      level: { fixed: localStatistics(fixed, WINDOW), moving: withGradient(still), matrix: identity, ratios: [1, 1, 1] as const },
    };
  });
  const node = deq(graph, 'deq', {
    cell: deqregCell(images.level, images.still, weights),
    shape: [1, 3, d, h, w],
    adjoint,
    wrt: weights.tensors,
    method: { method: 'anderson', window: 5 },
    loss: (u) => add(scale(lncc(images.level.fixed, warp(images.still, u), WINDOW), -1), diffusion(u)),
  });
  const states = weights.tensors.map((t) => adamState(t));
  graph.phase('begin', () => states.forEach(resetAdam));
  graph.phase('update', () => states.forEach((state, i) => adam(state, node.gradients[i]!, { rate: RATE })));
  return { graph, fixed, moving, weights, node, phases: ['images', ...node.phases, 'update'] };
}

/** Sets the weights to the initial values of a seed and Adam to its start. */
export function beginTraining(schedule: Schedule, { weights }: TrainingStep, seed: number): void {
  weights.parameters.upload(schedule, weights.parameters.initial(seed));
  schedule.run('begin');
}

/**
 * Runs one step on a pair, [D, H, W] each, and waits for it. `maxIterations` bounds the forward and the backward solve alike.
 * The loss is that of the weights before the step.
 */
export async function runTrainingStep(
  schedule: Schedule,
  { fixed, moving, node, phases }: TrainingStep,
  pair: { fixed: Float32Array; moving: Float32Array },
  maxIterations: number,
): Promise<DeqOutcome & { loss: number }> {
  schedule.upload(fixed, pair.fixed); // before every step: inputs give their memory to later phases
  schedule.upload(moving, pair.moving);
  const rule = { maxIterations, rtol: RTOL, atol: 0, patience: maxIterations, divergence: Infinity };
  const outcome = await runDeq(schedule, { ...node, phases }, { forward: rule, backward: rule });
  const [loss] = await schedule.read(node.loss);
  return { loss: loss!, ...outcome };
}
