// deqreg apply: a displacement that was saved, applied to another volume.
import { basename, dirname } from 'node:path';
import { readDisplacement, readVolume } from '../../io/files.ts';
import { encodeNifti } from '../../io/nifti.ts';
import { checkFinite } from '../../io/volume.ts';
import { openGpu } from '../gpu.ts';
import { applyDisplacement, interpolations } from '../../register/apply.ts';
import { checkReach } from '../../register/fields.ts';
import { oneOf, type Options, parse, text, UsageError } from '../args.ts';
import { within } from '../inputs.ts';
import { imageType, withOutputs } from '../outputs.ts';

export const summary = 'apply a displacement to another volume';
export const usage = 'deqreg apply --moving X --displacement D --out Y [--interpolation linear|nearest]';
export const options = {
  moving: { value: 'FILE', parse: text, required: true, help: 'volume to warp, on any grid' },
  displacement: { value: 'FILE', parse: text, required: true, help: 'displacement of `deqreg register`, ITK or ANTs: 5-D NIfTI, LPS mm' },
  out: { value: 'FILE', parse: text, required: true, help: 'the warped volume, .nii or .nii.gz, on the grid of the displacement' },
  interpolation: { value: interpolations.join('|'), parse: oneOf(...interpolations), help: 'linear (default), or nearest for label maps' },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const { moving: movingPath, displacement: displacementPath, out, interpolation = 'linear' } = parse(options, args);
  if (!/\.nii(\.gz)?$/i.test(out)) throw new UsageError(`--out: ${out}: the name must end in .nii or .nii.gz`);
  const [moving, displacement] = await Promise.all([readVolume(movingPath), readDisplacement(displacementPath)]);
  checkFinite(movingPath, moving);
  checkFinite(displacementPath, displacement);
  within(`${displacementPath}, ${movingPath}`, () => checkReach(displacement, moving));
  await withOutputs(dirname(out), async (write) => {
    const gpu = await openGpu();
    try {
      const { size, affine, data } = await applyDisplacement(gpu, moving, displacement, interpolation);
      await write(basename(out), encodeNifti({ size, affine, data, dtype: imageType(moving) }));
    } finally {
      gpu.close();
    }
  });
  return 0;
}
