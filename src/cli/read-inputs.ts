// Files in: everything that a registration reads.
import { readAffine, readLandmarks, readVolume } from '../io/files.ts';
import type { MaskedVolume } from '../io/volume.ts';
import type { AffineMode } from '../register/affine.ts';
import { checkInputs, type InputPaths, type Inputs, maskOf } from './inputs.ts';

/** Reads all files in parallel, and checks them; the same arguments as `checkInputs`. */
export async function readInputs(paths: InputPaths, labels?: readonly number[], affine?: AffineMode): Promise<Inputs> {
  const optional = (path: string | undefined) => (path === undefined ? undefined : readVolume(path));
  const [fixed, moving, fixedMask, movingMask, fixedSeg, movingSeg, initial] = await Promise.all([
    readVolume(paths.fixed),
    readVolume(paths.moving),
    optional(paths.fixedMask),
    optional(paths.movingMask),
    optional(paths.fixedSeg),
    optional(paths.movingSeg),
    paths.initial === undefined ? undefined : readAffine(paths.initial),
  ]);
  const landmarks = paths.landmarks === undefined ? undefined : await readLandmarks(paths.landmarks, { fixed, moving });
  return checkInputs(paths, { fixed, moving, fixedMask, movingMask, fixedSeg, movingSeg, landmarks, initial }, labels, affine);
}

/** An image with its mask, where it has one. */
export async function readMasked(path: string, maskPath: string | undefined): Promise<MaskedVolume> {
  const image = await readVolume(path);
  return maskPath === undefined ? image : { ...image, mask: maskOf(maskPath, await readVolume(maskPath), path, image) };
}
