// What a registration leaves on disk beside its figures: the transform, what it warps, and where it is known by.
import { encodeDisplacement, encodeNifti, type DisplacementField } from '../io/nifti.ts';
import { encodeItkAffine } from '../io/transform.ts';
import type { Registration } from '../register/register.ts';
import type { Inputs } from './inputs.ts';
import { imageType, labelType, type Mark, type Write } from './outputs.ts';

/** All that a registration may leave in its folder. */
export const FILES = [
  'warped.nii.gz',
  'displacement.nii.gz',
  'affine.txt',
  'warped_seg.nii.gz',
  'inverse_displacement.nii.gz',
  'metrics.json',
  'report.html',
];

export const MARK: Mark = { file: 'metrics.json', holds: ['solver', 'version'] };

/** Starts to write the transform and what it makes of the image; `field` is the displacement in LPS mm. */
export function writeResults(
  write: Write,
  { fixed: { size, affine }, moving, initial }: Inputs,
  { warped, affine: alignment }: Registration,
  field: DisplacementField,
  inverse?: DisplacementField,
): Promise<void>[] {
  const files = [
    write('displacement.nii.gz', encodeDisplacement(field)),
    write('warped.nii.gz', encodeNifti({ size, affine, data: warped.data, dtype: imageType(moving) })),
  ];
  if (alignment.mode !== 'none' || initial) files.push(write('affine.txt', encodeItkAffine(alignment.matrix)));
  if (inverse) files.push(write('inverse_displacement.nii.gz', encodeDisplacement(inverse)));
  return files;
}

/** Starts to write the moving labels on the fixed grid. */
export const writeLabels = (write: Write, { fixed: { size, affine }, movingLabels }: Inputs, labels: Float32Array): Promise<void> =>
  write('warped_seg.nii.gz', encodeNifti({ size, affine, data: labels, dtype: labelType(movingLabels!) }));
