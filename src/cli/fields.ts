// What the commands about displacement fields share: a field in, a NIfTI out, and a GPU in between.
import { basename, dirname } from 'node:path';
import type { Gpu } from '../gpu/device.ts';
import type { DisplacementForm } from '../io/displacement.ts';
import type { Affine } from '../io/affine.ts';
import { readAffine, readDisplacement, readVolume } from '../io/files.ts';
import type { DisplacementField } from '../io/nifti.ts';
import { checkFinite, furthest, type Grid, gridOf, sameGrid } from '../io/volume.ts';
import { openGpu } from './gpu.ts';
import type { InverseOutcome } from '../register/fields.ts';
import { UsageError } from './args.ts';
import { doubts, warn } from './inputs.ts';
import { withOutputs } from './outputs.ts';

/** A displacement field from a file, without NaN; what its header leaves open about its grid is told. */
export async function readField(path: string, form?: DisplacementForm): Promise<DisplacementField> {
  if (isAffineFile(path))
    throw new Error(`${path}: an affine where a displacement is expected; deqreg compose --first ${path} --like GRID makes one of it`);
  const field = await readDisplacement(path, form);
  checkFinite(path, field);
  if (form !== 'learn2reg') warn(doubts([[path, field]])); // whose grid is often that of another file
  return field;
}

/** Throws where a field is not on the grid of the fixed volume that it is said to be of; Learn2Reg's files often lack a true affine. */
export function checkFieldGrid(path: string, field: Grid, form: DisplacementForm, fixed: string, grid: Grid): void {
  if (field.size.some((n, axis) => n !== grid.size[axis]))
    throw new Error(`${path}: ${field.size.join('×')} voxels, but the fixed volume ${fixed} has ${grid.size.join('×')}`);
  if (form !== 'learn2reg' && !sameGrid(field, grid))
    throw new Error(
      `${path}: its affine puts voxels up to ${furthest(field, grid).toPrecision(3)} mm from where the fixed volume ${fixed} has them; pass the volume that it was made for`,
    );
}

/** The grid of a volume that a result is to be like. */
export async function readGrid(path: string): Promise<Grid> {
  const volume = await readVolume(path);
  warn(doubts([[path, volume]]));
  return gridOf(volume);
}

/** Is a file one of ITK's or ANTs' affines, by its name? */
const isAffineFile = (path: string): boolean => /\.(mat|txt|tfm)$/i.test(path);

/** A displacement field, or an affine of ITK (RAS mm), by the file's name. */
export const readMap = (path: string): Promise<DisplacementField | Affine> => (isAffineFile(path) ? readAffine(path) : readField(path));

/** The name of a NIfTI file to write. */
export function outputName(path: string): string {
  if (!/\.nii(\.gz)?$/i.test(path)) throw new UsageError(`${path}: the name must end in .nii or .nii.gz`);
  return path;
}

/** Writes one file, whole or not at all, from bytes that `make` computes on a GPU. */
export async function writeFromGpu(path: string, make: (gpu: Gpu) => Promise<Uint8Array>): Promise<void> {
  await withOutputs(dirname(path), async (write) => {
    const gpu = await openGpu();
    try {
      await write(basename(path), await make(gpu));
    } finally {
      gpu.close();
    }
  });
}

/** An inverse's residual for people. */
export function describeInverse({ unsolvedPercent, voxels, mm }: InverseOutcome): string {
  const figures = (of: 'mean' | 'max') => `${of} ${voxels[of].toFixed(4)} voxel (${mm[of].toFixed(4)} mm)`;
  return `residual ${figures('mean')}, ${figures('max')}, ${unsolvedPercent.toFixed(4)} % of its voxels unsolved`;
}
