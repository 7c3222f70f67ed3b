// deqreg apply: a displacement that was saved, applied to another volume.
import { readVolume } from '../../io/files.ts';
import { encodeNifti } from '../../io/nifti.ts';
import { imageType, labelType } from '../../io/stored-type.ts';
import type { Volume } from '../../io/volume.ts';
import { applyDisplacement, interpolations } from '../../register/apply.ts';
import { checkReach } from '../../register/fields.ts';
import { oneOf, type Options, parse, text } from '../args.ts';
import { outputName, readField, writeFromGpu } from '../fields.ts';
import { checkWhole, doubts, isLabelMap, warn, withPrefix, withoutNaN } from '../inputs.ts';
import { checkOutput } from '../outputs.ts';

export const summary = 'apply a displacement to another volume';
export const usage = 'deqreg apply --moving X --displacement D --out Y [--interpolation linear|nearest]';
export const options = {
  moving: { value: 'FILE', parse: text, required: true, help: 'volume to warp, on any grid' },
  displacement: { value: 'FILE', parse: text, required: true, help: 'displacement of `deqreg register`, ITK or ANTs: 5-D NIfTI, LPS mm' },
  out: { value: 'FILE', parse: outputName, required: true, help: 'the warped volume, .nii or .nii.gz, on the grid of the displacement' },
  interpolation: {
    value: interpolations.join('|'),
    parse: oneOf(...interpolations),
    help: 'linear (default), the smallest value outside; or nearest, for label maps, 0 outside',
  },
} satisfies Options;

/** A map of labels has fewer values than the image of anything. */
const MOST_LABELS = 100;
const seemLabels = (volume: Volume): boolean => isLabelMap(volume) && new Set(volume.data).size <= MOST_LABELS;

export async function run(args: string[]): Promise<number> {
  const { moving: movingPath, displacement: displacementPath, out, interpolation: asked } = parse(options, args);
  const interpolation = asked ?? 'linear';
  checkOutput(out, { '--moving': movingPath, '--displacement': displacementPath });
  const [moving, displacement] = await Promise.all([readVolume(movingPath), readField(displacementPath)]);
  warn(doubts([[movingPath, moving]]));
  warn(withoutNaN(movingPath, moving));
  const labels = interpolation === 'nearest';
  if (!asked && seemLabels(moving))
    warn([
      `${movingPath}: seems to be a label map, and is interpolated linearly; --interpolation nearest keeps its labels apart, --interpolation linear says that it is none`,
    ]);
  if (labels && (/int(32|64)$/.test(moving.dtype) || isLabelMap(moving))) checkWhole(movingPath, moving);
  withPrefix(`${displacementPath}, ${movingPath}`, () => checkReach(displacement, moving));
  await writeFromGpu(out, async (gpu) => {
    const warped = await applyDisplacement(gpu, moving, displacement, interpolation);
    return encodeNifti({ ...warped, dtype: labels ? labelType(moving) : imageType(moving) });
  });
  return 0;
}
