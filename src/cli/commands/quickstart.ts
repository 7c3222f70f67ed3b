// deqreg quickstart: the whole way on a synthetic pair, with the commands a user would type, and pictures of the result.
import { join } from 'node:path';
import { readVolume } from '../../io/files.ts';
import { type PanelRow, slicePanel } from '../../io/png.ts';
import type { Volume } from '../../io/volume.ts';
import { type IntensityWindow, intensityWindow } from '../../register/intensity.ts';
import { type Options, parse, table } from '../args.ts';
import { withOutputs } from '../outputs.ts';
import * as phantom from './phantom.ts';
import * as register from './register.ts';

export const summary = 'register a synthetic pair in ./quickstart and draw the result';
export const usage = 'deqreg quickstart';
export const options = {} satisfies Options;

const folder = 'quickstart';
const pair = (name: string) => join(folder, 'pair', name);
const result = (name: string) => join(folder, 'result', name);

export async function run(args: string[]): Promise<number> {
  parse(options, args);
  await step('phantom', phantom, ['--out', pair(''), '--kind', 'brain', '--size', '80,96,112', '--seed', '1']);
  await step('register', register, [
    '--fixed', pair('fixed.nii.gz'), '--moving', pair('moving.nii.gz'), '--out', result(''),
    '--fixed-seg', pair('fixed_seg.nii.gz'), '--moving-seg', pair('moving_seg.nii.gz'), '--landmarks', pair('landmarks.csv'),
  ]);
  await withOutputs(folder, draw);
  console.log(['pictures: sagittal, coronal and axial slices', ...table([
    [join(folder, 'images.png'), 'from above: fixed, moving, warped'],
    [join(folder, 'difference.png'), 'fixed − moving before, fixed − warped after'],
  ])].join('\n'));
  return 0;
}

async function step(name: string, command: { run(args: string[]): Promise<number> }, args: string[]): Promise<void> {
  console.log(`$ deqreg ${name} ${args.join(' ')}`);
  await command.run(args);
}

async function draw(write: (name: string, bytes: Uint8Array) => Promise<void>): Promise<void> {
  const [fixed, moving, warped] = await Promise.all([pair('fixed.nii.gz'), pair('moving.nii.gz'), result('warped.nii.gz')].map(readVolume));
  const windows = { fixed: intensityWindow(fixed.data), moving: intensityWindow(moving.data) };
  const image = (volume: Volume, { low, high }: IntensityWindow): PanelRow => ({ ...volume, window: [low, high] });
  /** Of the intensities as they are compared: each in its own window. */
  const difference = (other: Volume): PanelRow => {
    const at = ({ low, high }: IntensityWindow, value: number) => (value - low) / (high - low);
    return { ...fixed, data: fixed.data.map((value, v) => Math.abs(at(windows.fixed, value) - at(windows.moving, other.data[v]))), window: [0, 0.6] };
  };
  await Promise.all([
    write('images.png', slicePanel([image(fixed, windows.fixed), image(moving, windows.moving), image(warped, windows.moving)])),
    write('difference.png', slicePanel([difference(moving), difference(warped)])),
  ]);
}
