// The type that voxels are stored in, so that a file holds what its image held.
import type { NiftiImage } from './nifti.ts';
import type { Volume } from './volume.ts';

const ranges: Record<string, [number, number]> = {
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
};
type StoredType = NiftiImage['dtype'];

/** The type that warped voxels of an image are stored in: its own if that is uint8, int16 or uint16 and unscaled, else float32. */
export const imageType = ({ dtype, data }: Volume): StoredType =>
  ['uint8', 'int16', 'uint16'].includes(dtype) && fits(dtype, data) ? (dtype as StoredType) : 'float32';

/** The type that a label map is stored in: its own if that is one of those above or int32, else the smallest that holds its labels. */
export const labelType = ({ dtype, data }: Volume): StoredType =>
  ([dtype, ...Object.keys(ranges)].find((type) => fits(type, data)) ?? 'float32') as StoredType;

/** Is it an integer type that this project writes, and are all values whole numbers of it? */
function fits(type: string, data: Float32Array): boolean {
  if (!Object.hasOwn(ranges, type)) return false;
  const [low, high] = ranges[type];
  for (let n = 0; n < data.length; n++) if (!(data[n] >= low && data[n] <= high && Number.isInteger(data[n]))) return false;
  return true;
}
