// deqreg quickstart: the whole way on a synthetic pair, with the commands a user would type, and pictures of the result.
import { join } from 'node:path';
import type { Vec3 } from '../../io/affine.ts';
import { readVolume } from '../../io/files.ts';
import { type PanelRow, slicePanel } from '../../io/png.ts';
import type { Volume } from '../../io/volume.ts';
import { type IntensityWindow, intensityWindow } from '../../register/intensity.ts';
import { type Options, parse, table } from '../args.ts';
import { withOutputs, type Write } from '../outputs.ts';
import * as phantom from './phantom.ts';
import * as register from './register.ts';

export const summary = 'register a synthetic pair in ./quickstart and draw the result';
export const usage = 'deqreg quickstart';
export const options = {} satisfies Options;

const folder = 'quickstart';
/** Where the pictures' slices lie, as shares of the brain along i, j, k; the sagittal one beside the cleft between the halves. */
const slices = [0.34, 0.5, 0.5];
const pair = (name: string) => join(folder, 'pair', name);
const result = (name: string) => join(folder, 'result', name);

export async function run(args: string[]): Promise<number> {
  parse(options, args);
  await step('phantom', phantom, ['--out', pair(''), '--kind', 'brain', '--size', '80,96,112', '--seed', '3']);
  await step('register', register, [
    '--fixed',
    pair('fixed.nii.gz'),
    '--moving',
    pair('moving.nii.gz'),
    '--out',
    result(''),
    '--fixed-seg',
    pair('fixed_seg.nii.gz'),
    '--moving-seg',
    pair('moving_seg.nii.gz'),
    '--landmarks',
    pair('landmarks.csv'),
  ]);
  await withOutputs(folder, draw);
  console.log(
    [
      'pictures: sagittal, coronal and axial slices',
      ...table([
        [join(folder, 'images.png'), 'from above: fixed, moving, warped'],
        [join(folder, 'difference.png'), 'from above: |fixed − moving|, |fixed − warped|'],
      ]),
    ].join('\n'),
  );
  return 0;
}

async function step(name: string, command: { run(args: string[]): Promise<number> }, args: string[]): Promise<void> {
  console.log(`$ deqreg ${name} ${args.join(' ')}`);
  await command.run(args);
}

async function draw(write: Write): Promise<void> {
  const [fixed, moving, warped] = crop(
    await Promise.all([pair('fixed.nii.gz'), pair('moving.nii.gz'), result('warped.nii.gz')].map(readVolume)),
  );
  const windows = { fixed: intensityWindow(fixed.data), moving: intensityWindow(moving.data) };
  const at = fixed.size.map((n, axis) => Math.round(n * slices[axis])) as Vec3;
  const image = (volume: Volume, { low, high }: IntensityWindow): PanelRow => ({ ...volume, at, window: [low, low + 1.1 * (high - low)] });
  /** Between intensities as they are compared: each in its own window, 0 to 1. */
  const difference = (other: Volume): PanelRow => {
    const share = ({ low, high }: IntensityWindow, value: number) => (value - low) / (high - low);
    const data = fixed.data.map((value, v) => Math.abs(share(windows.fixed, value) - share(windows.moving, other.data[v])));
    return { ...fixed, data, at, window: [0, 0.6] };
  };
  await Promise.all([
    write('images.png', slicePanel([image(fixed, windows.fixed), image(moving, windows.moving), image(warped, windows.moving)])),
    write('difference.png', slicePanel([difference(moving), difference(warped)])),
  ]);
}

/** Volumes on one grid, cut to the box of the voxels above the background in any of them, and two more on each side. */
function crop(volumes: Volume[]): Volume[] {
  const [
    {
      size: [W, H, D],
    },
  ] = volumes;
  const low = [W, H, D],
    high = [0, 0, 0];
  for (const { data } of volumes)
    for (let v = 0; v < data.length; v++) {
      if (data[v] <= 0) continue;
      [v % W, Math.floor(v / W) % H, Math.floor(v / (W * H))].forEach((x, axis) => {
        low[axis] = Math.max(0, Math.min(low[axis], x - 2));
        high[axis] = Math.min([W, H, D][axis], Math.max(high[axis], x + 3));
      });
    }
  const size = low.map((x, axis) => high[axis] - x) as Vec3;
  return volumes.map((volume) => {
    const data = new Float32Array(size[0] * size[1] * size[2]);
    for (let k = 0; k < size[2]; k++)
      for (let j = 0; j < size[1]; j++) {
        const from = ((low[2] + k) * H + low[1] + j) * W + low[0];
        data.set(volume.data.subarray(from, from + size[0]), (k * size[1] + j) * size[0]);
      }
    return { ...volume, size, data };
  });
}
