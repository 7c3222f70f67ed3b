// The memory of training against that of the same step in PyTorch: first that it is the same function, then both peaks.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Gpu } from '../../src/node.ts';
import { table } from '../report.ts';
import { type AdjointName, bytesAt, CHANNELS, type Row, voxels } from './memory-rows.ts';
import { FULL, HALF, QUARTER, type Size } from './sizes.ts';
import { pythonWithTorch, torchThreads } from '../peers/process.ts';
import { agreement, runTwin } from './twin.ts';

const STEPS = 12;
/** PyTorch's unrolled step may take so much of the computer's memory. */
const MOST = 12 * 2 ** 30;
const SMALLER: Size = [56, 68, 80];
/** Of ours over PyTorch's: ours by jfb over its jfb, and both of ours over its unrolled. */
const AIMS = { jfb: 0.5, unrolled: 0.12 };

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

/** Sections of the report. `rows`: ours; `bytes`: GPU memory that there is. */
export async function againstTorch(
  gpu: Gpu,
  given: string | undefined,
  rows: readonly Row[],
  quick: boolean | undefined,
  bytes: number,
): Promise<string[]> {
  const python = pythonWithTorch(given);
  if (!python)
    return ['## PyTorch', `Left out: ${given ?? 'python3'} does not import torch and numpy (on Debian: apt-get install python3-torch).`];
  const folder = mkdtempSync(join(tmpdir(), 'deqreg-torch-'));
  try {
    const same = await agreement(gpu, python, folder, QUARTER, CHANNELS);
    const first = runTwin(python, folder, QUARTER, CHANNELS, 'unrolled', STEPS, false);
    const onGpu = !first.device.startsWith('CPU');
    const about = (size: Size) => (first.peakBytes * voxels(size)) / voxels(QUARTER);
    const most = onGpu ? bytes : Math.min(MOST, 0.8 * process.availableMemory());
    const wanted = quick ? [QUARTER] : onGpu ? [HALF, FULL] : [HALF];
    const sizes = wanted.filter((size) => about(size) <= most);
    if (!sizes.length) sizes.push(SMALLER);
    const dropped = wanted.filter((size) => !sizes.includes(size));
    const { float32, float64 } = same;
    return [
      '## Against PyTorch',
      `\`bench/peers/torch_deqreg.py\`: the same cell, loss, weights, images and optimiser in PyTorch ${same.torch} (${same.device}), with autograd for T = ${STEPS} ` +
        "unrolled steps, and for one step from Anderson's fixed point (JFB). In place: its leaky ReLUs overwrite what they read. " +
        `PyTorch has all cores: \`${torchThreads().join(' ')}\`.`,
      `That it is the same function, on ${QUARTER.join(' × ')} voxels, with random numbers of σ = 0.1 in the last layer. Of f(u), the largest difference in voxels ` +
        `(f(u) reaches ${float64.fMax.toFixed(2)}); of the gradients, the largest over all layers of ‖difference‖/‖gradient‖:`,
      table(
        ['PyTorch in', 'f(u)', '‖difference‖/‖f(u) − u‖', 'loss', 'difference of the loss', 'gradients of the loss'],
        Object.entries({ float32, float64 }).map(([dtype, d]) => [
          dtype,
          d.fMaxDifference.toExponential(1),
          d.fRelative.toExponential(1),
          d.loss.toFixed(6),
          d.lossDifference.toExponential(1),
          d.gradientRelative.toExponential(1),
        ]),
      ),
      ...dropped.map(
        (size) =>
          `${size.join(' × ')} is left out: PyTorch's unrolled step would need about ${mib(about(size))} MiB there, and may take ${mib(most)} MiB.`,
      ),
      ...sizes.flatMap((size) => compare(python, folder, size, rows, gpu.info.software, onGpu)),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Peak {
  what: string;
  bytes: number;
  resident?: number;
  loss?: number;
  seconds?: number;
}

function compare(python: string, folder: string, size: Size, rows: readonly Row[], software: boolean, onGpu: boolean): string[] {
  const ours = (adjoint: AdjointName): Peak => {
    const row = rows.find((row) => row.adjoint === adjoint && row.steps === STEPS && row.size === size && row.measuredBytes !== undefined);
    return {
      what: `deqreg, ${adjoint}${row ? '' : ' (planned)'}`,
      bytes: row?.measuredBytes ?? bytesAt(adjoint, size),
      resident: row && software ? row.maxRssBytes : undefined,
      loss: row?.loss,
      seconds: row?.seconds,
    };
  };
  const theirs = (adjoint: 'jfb' | 'unrolled', inPlace: boolean): Peak => {
    const { peakBytes, baselineBytes, loss, seconds } = runTwin(python, folder, size, CHANNELS, adjoint, STEPS, inPlace);
    console.error(`${size} PyTorch ${adjoint}: ${mib(peakBytes)} MiB, ${seconds.toFixed(1)} s`);
    return {
      what: `PyTorch, ${adjoint}${inPlace ? ', in place' : ''}`,
      bytes: peakBytes,
      resident: onGpu ? undefined : peakBytes + baselineBytes,
      loss,
      seconds,
    };
  };
  const [jfb, implicit, unrolled] = [ours('jfb'), ours('implicit'), ours('unrolled')];
  const [torchJfb, torchJfbInPlace] = [theirs('jfb', false), theirs('jfb', true)];
  const [torchUnrolled, torchUnrolledInPlace] = [theirs('unrolled', false), theirs('unrolled', true)];
  const ratio = (a: Peak, b: Peak, aim: number) => {
    const value = a.bytes / b.bytes;
    return [
      `${a.what} / ${b.what}`,
      value.toFixed(3),
      a.resident === undefined || b.resident === undefined ? '' : (a.resident / b.resident).toFixed(3),
      `${aim} ${value <= aim ? 'met' : '**missed**'}`,
    ];
  };
  return [
    `At ${size.join(' × ')}, T = ${STEPS}. Peak: of ours the engine's buffers; of PyTorch ${
      onGpu
        ? 'torch.cuda.max_memory_allocated'
        : "the process's largest resident memory, less what it had after a step on 16³ voxels; resident: of the whole processes"
    }. MiB:`,
    table(
      ['', 'peak', 'resident', 'loss of the step', 'seconds'],
      [implicit, jfb, unrolled, torchJfb, torchJfbInPlace, torchUnrolled, torchUnrolledInPlace].map(
        ({ what, bytes, resident, loss, seconds }) => [
          what,
          mib(bytes),
          resident === undefined ? '' : mib(resident),
          loss?.toFixed(6) ?? '',
          seconds?.toFixed(1) ?? '',
        ],
      ),
    ),
    table(
      ['', 'peak', 'resident', 'aim, at most'],
      [
        ratio(jfb, torchJfb, AIMS.jfb),
        ratio(jfb, torchJfbInPlace, AIMS.jfb),
        ratio(jfb, torchUnrolled, AIMS.unrolled),
        ratio(jfb, torchUnrolledInPlace, AIMS.unrolled),
        ratio(implicit, torchUnrolled, AIMS.unrolled),
        ratio(implicit, torchUnrolledInPlace, AIMS.unrolled),
      ],
    ),
  ];
}
