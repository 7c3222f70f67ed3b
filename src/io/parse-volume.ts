import { bytesOf, type Content } from './bytes.ts';
import { gunzip, inflated, isGzip } from './gunzip.ts';
import { HEADER_BYTES, parseHeader, type NiftiHeader } from './nifti-header.ts';
import { bufferOf, frameOf, parseNifti, volumeSize } from './nifti.ts';
import type { Volume } from './volume.ts';

/**
 * A 3-D image from the content of a single-file NIfTI, gzipped or not, as a server receives it or a page's visitor chooses it; `name`
 * begins the errors. More than `maxVoxels` are refused by the header, before anything is decompressed; of a 4-D image, `frame` says which
 * one, counted from 0. Values of uncompressed float32 lie in the bytes given.
 */
export async function parseVolume(
  name: string,
  file: Content,
  { maxVoxels = Infinity, frame, ...unknown }: { maxVoxels?: number; frame?: number } = {},
): Promise<Volume> {
  if (Object.keys(unknown).length)
    throw new Error(`${name}: unknown option ${Object.keys(unknown).join(', ')}; there are maxVoxels, frame`);
  if (!(maxVoxels > 0)) throw new Error(`${name}: maxVoxels must be a number above 0, got ${maxVoxels}`);
  const content = bytesOf(file);
  const wanted = (start: ArrayBuffer): number => {
    const header = parseHeader(name, start);
    const [w, h, d] = volumeSize(name, frameOf(name, header, frame));
    if (w * h * d > maxVoxels) throw new Error(`${name}: ${w}×${h}×${d} voxels; at most ${maxVoxels} are taken here`);
    return wantedOf(header, start);
  };
  if (isGzip(content)) return parseNifti(name, await gunzip(name, content.length, inflated(content), wanted), undefined, frame);
  const whole = bufferOf(name, content);
  wanted(whole.slice(0, HEADER_BYTES[2]));
  return parseNifti(name, whole, undefined, frame);
}

/** How many bytes of a file matter: of a single file header and voxels, of a pair's header what there is. */
export const wantedOf = ({ pair, offset, bytes }: NiftiHeader, start: ArrayBuffer): number => (pair ? start.byteLength : offset + bytes);
