// Time of one iteration of the registration cell (the variational one under Anderson) against the number of voxels.
import {
  centre,
  type Gpu,
  Graph,
  identity,
  localStatistics,
  Schedule,
  traceIteration,
  variationalCell,
  withGradient,
} from '../../src/index.ts';
import { checkLimits, plan } from '../../src/index.ts';
import { resolveOptions } from '../../src/register/options.ts';
import { image } from './inputs.ts';
import { shapeAt } from './op-row.ts';
import type { Size } from './sizes.ts';

const SIZES: Size[] = [
  [24, 28, 32],
  [32, 40, 48],
  [48, 56, 64],
  [64, 80, 88],
  [80, 96, 112],
  [104, 128, 144],
  [128, 152, 176],
  [160, 192, 224],
];
const COUNT = 5;
/** Iterations sent before the CPU waits; the best of so many rounds. */
const BATCH = 5;
const ROUNDS = 4;

export interface SizeCost {
  size: Size;
  voxels: number;
  /** Of one iteration, submits included. */
  ms: number;
}

function traceCell(size: Size) {
  const [w, h, d] = size;
  const graph = new Graph();
  const inputs = [image('fixed', shapeAt(size, 1), 1), image('moving', shapeAt(size, 1), 1.6)];
  const [fixed, moving] = inputs.map(({ label, shape }) => graph.input(label, shape));
  const { window, lambda, step, softness, smoothing } = resolveOptions(
    {},
    { size: [w, h, d], affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] },
  );
  const images = graph.phase('images', () => ({
    fixed: localStatistics(fixed, window),
    moving: withGradient(centre(moving)),
    matrix: identity,
    ratios: [1, 1, 1] as const,
  }));
  const cell = variationalCell(images, { lambda: lambda.at(-1)!, step, softness, smoothing });
  const iteration = traceIteration(graph, 'cell', { method: 'anderson' }, shapeAt(size, 3), cell);
  return { graph, inputs, tensors: [fixed, moving], iteration };
}

async function costAt(gpu: Gpu, size: Size): Promise<SizeCost> {
  const { graph, inputs, tensors, iteration } = traceCell(size);
  const schedule = await Schedule.build(gpu, graph);
  try {
    tensors.forEach((t, i) => schedule.upload(t, inputs[i].values()));
    schedule.run('images');
    schedule.run(iteration.start);
    let ms = Infinity;
    for (let round = 0; round <= ROUNDS; round++) {
      await gpu.idle();
      const started = performance.now();
      for (let i = 0; i < BATCH; i++) schedule.run(iteration.step);
      await gpu.idle();
      if (round > 0) ms = Math.min(ms, (performance.now() - started) / BATCH); // the first round fills the history
    }
    return { size, voxels: size.reduce((a, b) => a * b), ms };
  } finally {
    schedule.destroy();
  }
}

/** Whether the adapter holds the cell at a size. */
function fits(gpu: Gpu, size: Size): boolean {
  try {
    checkLimits(plan(traceCell(size).graph), gpu.limits, gpu.info.description);
    return true;
  } catch {
    return false;
  }
}

/** The five largest sizes that the adapter holds, none above `most` voxels. */
export async function costOfSizes(gpu: Gpu, most = Infinity): Promise<SizeCost[]> {
  const chosen = SIZES.filter((size) => size.reduce((a, b) => a * b) <= most && fits(gpu, size)).slice(-COUNT);
  const costs: SizeCost[] = [];
  for (const size of chosen) costs.push(await costAt(gpu, size));
  return costs;
}

/** Slope of log(time) against log(voxels), by least squares: 1 is a cost in proportion to the size. */
export function slope(costs: readonly SizeCost[]): number {
  const points = costs.map(({ voxels, ms }) => [Math.log(voxels), Math.log(ms)] as const);
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
  const [mx, my] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  return mean(points.map(([x, y]) => (x - mx) * (y - my))) / mean(points.map(([x]) => (x - mx) ** 2));
}
