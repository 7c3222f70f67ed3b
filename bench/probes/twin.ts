// The same training step in PyTorch (bench/peers/torch_deqreg.py): the interpreter that has torch, the same function shown, and its memory.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  centre,
  deqreg,
  diffusion,
  encodeSafetensors,
  type Gpu,
  grad,
  Graph,
  identity,
  lncc,
  localStatistics,
  Schedule,
  type Shape,
  warpWithGradient,
  withGradient,
} from '../../src/index.ts';
import { normal } from '../../src/models/parameters.ts';
import { phantom } from '../../src/register/phantom.ts';
import { axpby } from '../../src/ops/index.ts';
import { seededRandom } from '../../src/ops/random.ts';
import { torchThreads } from '../peers/process.ts';
import type { Size } from './sizes.ts';

const SCRIPT = 'bench/peers/torch_deqreg.py';
const WINDOW = 5;
/**
 * σ of random numbers in the last layer: with them the network, and not only the similarity's step, moves the field by tenths of a voxel.
 */
const LOUD = 0.1;
const SEED = 1;

export interface Agreement {
  torch: string;
  device: string;
  /** By what PyTorch computes in; the engine computes in f32. */
  float32: Differences;
  float64: Differences;
}

interface Differences {
  /** Largest difference of f(u), and its largest value, in voxels; and ‖difference‖/‖f(u) − u‖. */
  fMaxDifference: number;
  fMax: number;
  fRelative: number;
  loss: number;
  lossDifference: number;
  /** Of the loss's gradient for the weights, the largest over the layers of ‖difference‖/‖gradient‖. */
  gradientRelative: number;
}

export interface TwinRun {
  torch: string;
  device: string;
  peakBytes: number;
  /** Resident memory of the libraries, already taken off the peak; 0 on a GPU. */
  baselineBytes: number;
  seconds: number;
  loss: number;
}

function ask<T>(python: string, wanted: string[]): T {
  const args = [...wanted, ...torchThreads()];
  const { status, stdout, stderr } = spawnSync(python, [SCRIPT, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${python} ${SCRIPT} ${args.join(' ')}: ${stderr}`);
  return JSON.parse(stdout);
}

/** The tensors that both sides start from: the phantom pair of `deqreg train-step` and the cell's weights. */
function inputsOf(size: Size, channels: number) {
  const shape = [1, 1, ...size.toReversed()];
  const { fixed, moving } = phantom('brain', size, SEED);
  const unit = ({ data }: { data: Float32Array }) => ({ shape, data: data.map((v) => v / 255) });
  const values = deqreg(new Graph(), { channels, similarity: 'detached' }).parameters.initial(SEED);
  return { images: { fixed: unit(fixed), moving: unit(moving) }, values };
}

/** A smooth displacement of up to 1.5 voxels. */
function waves(shape: Shape): Float32Array {
  const [, , d, h, w] = shape as [number, number, number, number, number];
  return Float32Array.from({ length: 3 * d * h * w }, (_, i) => {
    const [x, y, z, c] = [i % w, Math.floor(i / w) % h, Math.floor(i / (w * h)) % d, Math.floor(i / (w * h * d))];
    return 1.5 * Math.sin(0.21 * x + 0.13 * (c + 1) * y + 0.3) * Math.cos(0.17 * z - 0.07 * (c + 2) * x + c);
  });
}

/** f(u), the loss of it and that loss's gradients for the weights, by the engine and by PyTorch, on the same inputs and weights. */
export async function agreement(gpu: Gpu, python: string, folder: string, size: Size, channels: number): Promise<Agreement> {
  const { images, values } = inputsOf(size, channels);
  const { shape, data } = values.get('leave.weight')!;
  data.set(normal(LOUD)(shape, seededRandom(SEED)));
  const graph = new Graph();
  const cell = deqreg(graph, { channels, similarity: 'detached' });
  const state = [1, 3, ...size.toReversed()];
  const [fixed, moving, u] = [
    graph.input('fixed', images.fixed.shape),
    graph.input('moving', images.moving.shape),
    graph.input('u', state),
  ];
  const wrt = [...cell.parameters.tensors];
  const { y, loss, gradients } = graph.phase('all', () => {
    const level = {
      fixed: localStatistics(fixed, WINDOW),
      moving: withGradient(centre(moving)),
      matrix: identity,
      ratios: [1, 1, 1] as const,
    };
    const y = graph.output(cell.update(level)(u));
    const loss = graph.output(axpby(-1, lncc(level.fixed, warpWithGradient(level.moving, y).warped, WINDOW), 1, diffusion(y)));
    return {
      y,
      loss,
      gradients: grad(
        loss,
        wrt.map(([, t]) => t),
      ).map((g) => graph.output(g)),
    };
  });
  const schedule = await Schedule.build(gpu, graph);
  try {
    const displacement = waves(state);
    schedule.upload(fixed, images.fixed.data);
    schedule.upload(moving, images.moving.data);
    schedule.upload(u, displacement);
    cell.parameters.upload(schedule, values);
    schedule.run('all');
    const tensors = new Map(Object.entries({ ...images, u: { shape: state, data: displacement } }));
    for (const [name, value] of values) tensors.set(`weight.${name}`, value as { shape: number[]; data: Float32Array });
    for (const [name, t] of [['f', y], ['loss', loss], ...wrt.map(([name], i) => [`gradient.${name}`, gradients[i]])] as const)
      tensors.set(name as string, { shape: [...(t as typeof y).shape], data: await schedule.read(t as typeof y) });
    const path = join(folder, 'check.safetensors');
    writeFileSync(path, encodeSafetensors(tensors));
    return ask(python, ['--data', path, '--check']);
  } finally {
    schedule.destroy();
  }
}

/** One training step in PyTorch. */
export function runTwin(
  python: string,
  folder: string,
  size: Size,
  channels: number,
  adjoint: 'jfb' | 'unrolled',
  steps: number,
  inPlace: boolean,
): TwinRun {
  const { images, values } = inputsOf(size, channels);
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array }>(Object.entries(images));
  for (const [name, value] of values) tensors.set(`weight.${name}`, value);
  const path = join(folder, 'step.safetensors');
  writeFileSync(path, encodeSafetensors(tensors));
  return ask(python, ['--data', path, '--adjoint', adjoint, '--steps', String(steps), ...(inPlace ? ['--in-place'] : [])]);
}
