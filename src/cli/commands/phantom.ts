// deqreg phantom: a synthetic pair with a known answer, to try things on.
import { version } from '../../../package.json';
import { toPhysical } from '../../io/displacement.ts';
import { encodeLandmarks } from '../../io/landmarks.ts';
import { encodeDisplacement, encodeNifti, type NiftiImage } from '../../io/nifti.ts';
import type { Vec3 } from '../../io/affine.ts';
import type { Volume } from '../../io/volume.ts';
import { phantom } from '../../register/phantom.ts';
import { oneOf, type Options, parse, size, text, UsageError, whole } from '../args.ts';
import { checkFolder, withOutputs } from '../outputs.ts';

const sizes = { brain: [80, 96, 112], lung: [80, 112, 160] } satisfies Record<string, Vec3>;

const FILES = [
  'fixed.nii.gz',
  'moving.nii.gz',
  'fixed_seg.nii.gz',
  'moving_seg.nii.gz',
  'displacement.nii.gz',
  'landmarks.csv',
  'phantom.json',
];

export const summary = 'make a synthetic pair with labels, landmarks and the true displacement';
export const usage = 'deqreg phantom --out DIR [--kind brain|lung] [--size W,H,D] [--seed N]';
export const options = {
  out: {
    value: 'DIR',
    parse: text,
    required: true,
    help: `folder for ${FILES.join(', ')} (how it was made)`,
  },
  kind: { value: 'brain|lung', parse: oneOf('brain', 'lung'), help: 'T1-like brain (default), or one lung in HU' },
  size: { value: 'W,H,D', parse: size, help: `voxels along i, j, k, at least 16 each (default: brain ${sizes.brain}, lung ${sizes.lung})` },
  seed: { value: 'N', parse: whole, help: 'another pair for another number (default: 1)' },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const { out, kind = 'brain', seed = 1, ...given } = parse(options, args);
  const voxels = given.size ?? sizes[kind];
  if (voxels.some((n) => n < 16)) throw new UsageError(`--size: ${voxels.join(',')}: at least 16 voxels along each axis are needed`);
  checkFolder(out, FILES, {}, { file: 'phantom.json', holds: ['kind', 'version'] });
  await withOutputs(out, async (write) => {
    const { fixed, moving, fixedSeg, movingSeg, landmarks, displacement } = phantom(kind, voxels, seed);
    const image = (volume: Volume) => encodeNifti({ ...volume, dtype: volume.dtype as NiftiImage['dtype'] });
    await Promise.all([
      write('fixed.nii.gz', image(fixed)),
      write('moving.nii.gz', image(moving)),
      write('fixed_seg.nii.gz', image(fixedSeg)),
      write('moving_seg.nii.gz', image(movingSeg)),
      write('displacement.nii.gz', encodeDisplacement({ ...fixed, data: toPhysical(displacement, fixed) })),
      write('landmarks.csv', encodeLandmarks(landmarks)),
      write('phantom.json', `${JSON.stringify({ kind, size: voxels, seed, version }, null, 2)}\n`),
    ]);
  });
  return 0;
}
