// What plan and train-step share: the options of one training step, and the step that they describe.
import { similarityJacobians } from '../models/cell.ts';
import { adjoints } from '../deq/problem.ts';
import { cells } from '../models/cells.ts';
import { adjointOf, traceTrainingStep, unitGrid } from '../train/step.ts';
import { oneOf, type Options, size, UsageError, type Values, whole } from './args.ts';

export const above0 = (value: string): number => {
  const parsed = whole(value);
  if (parsed < 1) throw new UsageError(`must be above 0, got ${value}`);
  return parsed;
};

export const trainingOptions = {
  cell: {
    value: 'deqreg|gradirn',
    parse: oneOf(...Object.keys(cells)),
    help: 'the update that is trained (default deqreg)',
  },
  similarity: {
    value: similarityJacobians.join('|'),
    parse: oneOf(...similarityJacobians),
    help: "what of the similarity force's Jacobian the gradient sees (default detached)",
  },
  channels: { value: 'N', parse: above0, help: 'width of the cell at full resolution (default 16)' },
  size: { value: 'W,H,D', parse: size, required: true, help: 'voxels along i, j, k' },
  dtype: {
    value: 'f32|f16',
    parse: oneOf('f32', 'f16'),
    help: "storage of the network's activations (default f32); sums and weights are f32",
  },
  adjoint: { value: adjoints.join('|'), parse: oneOf(...adjoints), help: 'how gradients pass the fixed point (default implicit)' },
  steps: { value: 'T', parse: above0, help: 'bound of forward and adjoint solve; length of checkpointed and unrolled (default 12)' },
  json: { help: 'print JSON' },
} satisfies Options;

/** The step that the options describe, traced, and the options with their defaults filled in. */
export function training(given: Values<typeof trainingOptions>, least: number) {
  const { cell = 'deqreg', channels = 16, size, similarity = 'detached', dtype = 'f32', adjoint = 'implicit', steps = 12 } = given;
  if (size.some((n) => n < least)) throw new UsageError(`--size: ${size.join(',')}: at least ${least} voxels along each axis are needed`);
  return {
    settings: { cell, channels, similarity, dtype, size, adjoint, steps },
    traced: traceTrainingStep({ cell, channels, similarity, dtype, grid: unitGrid(size), adjoint: adjointOf(adjoint, steps) }),
  };
}
