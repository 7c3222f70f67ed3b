import { applyAffine, invertAffine, voxelSpacing, type Affine, type Vec3 } from './affine.ts';
import type { Dtype } from './nifti-header.ts';

/** Where the voxels are: extents along i, j, k (W, H, D) and the affine voxel → RAS mm. */
export interface Grid {
  size: Readonly<Vec3>;
  affine: Affine;
  /**
   * NIfTI's code of the space that these mm are of: 1 the scanner's (default), 2 another image's, 3 Talairach's, 4 MNI-152, 5 another
   * template's.
   */
  space?: number;
}

/** Of a volume or a field, where its voxels are. */
export const gridOf = ({ size, affine, space }: Grid): Grid => ({ size, affine, ...(space !== undefined && { space }) });

/** A scalar image, [D, H, W] with W (= i) fastest. `dtype` is the type on disk; `data` holds the scaled values. */
export interface Volume extends Grid {
  data: Float32Array;
  dtype: Dtype;
  /** Why its voxels may be elsewhere in space than `affine` says: what its file leaves open or contradicts. */
  doubt?: string;
}

/** A volume that was computed. */
export type Float32Volume = Volume & { dtype: 'float32' };

/**
 * A volume to be registered, from a file or made in memory; with, where it matters, a mask on its grid: it counts where that is above 0.
 */
export interface MaskedVolume extends Grid {
  data: Float32Array;
  dtype?: Dtype;
  doubt?: string;
  mask?: Float32Array;
}

export function voxelCount({ size: [w, h, d] }: Grid): number {
  return w * h * d;
}

/** Throws on what is no grid. `name` starts the message, usually the file's path. */
export function checkGeometry(name: string, grid: Grid): void {
  if (grid === null || typeof grid !== 'object') throw new Error(`${name} must be an object with size and affine, got ${show(grid)}`);
  const { size, affine } = grid;
  if (!Array.isArray(size) || size.length !== 3 || !size.every((n) => Number.isInteger(n) && n > 0))
    throw new Error(`${name}: size must be three whole numbers above 0 (W, H, D), got ${show(size)}`);
  if (!Array.isArray(affine) || affine.length !== 12 || !affine.every(Number.isFinite))
    throw new Error(`${name}: affine must be twelve numbers, the three rows that lead from voxels to RAS mm, got ${show(affine)}`);
  try {
    invertAffine(affine);
  } catch (error) {
    throw new Error(`${name}: its ${(error as Error).message}`);
  }
}

/** Throws where a grid has not `channels` values a voxel as a Float32Array: one of an image, three of a displacement. */
export function checkValues(name: string, grid: Grid & { data: Float32Array }, channels: 1 | 3, what: 'data' | 'mask' = 'data'): void {
  checkGeometry(name, grid);
  const values: unknown = (grid as MaskedVolume)[what];
  if (!(values instanceof Float32Array)) throw new Error(`${name}: ${what} must be a Float32Array, got ${show(values)}`);
  const shape = [...(channels === 3 ? [3] : []), ...grid.size].join('×');
  if (values.length !== channels * voxelCount(grid))
    throw new Error(`${name}: ${what} must have ${shape} = ${channels * voxelCount(grid)} values, got ${values.length}`);
}

/** A value as a message shows it: its type, or a short list as it is. */
const show = (value: unknown): string =>
  Array.isArray(value) && value.length <= 16 ? `[${value}]` : value instanceof Object ? value.constructor.name : `${value}`;

/** A volume that can be registered, with its mask as 1 where it is above 0, else 0. Throws on any other. */
export function checkedImage(name: string, volume: MaskedVolume): MaskedVolume {
  checkValues(name, volume, 1);
  checkFinite(name, volume);
  let { mask } = volume;
  if (mask !== undefined) {
    checkValues(name, volume, 1, 'mask');
    mask = insideOf(`${name}: mask`, mask);
  }
  checkNotConstant(name, { data: volume.data, mask });
  return { ...volume, mask };
}

/** 1 where a mask is above 0, else 0. Throws where it is so nowhere. */
export function insideOf(name: string, mask: Float32Array): Float32Array {
  const inside = mask.map((value) => (value > 0 ? 1 : 0));
  if (!inside.includes(1)) throw new Error(`${name}: an empty mask: no voxel is above 0`);
  return inside;
}

/** Same size, and every corner at the same place within a hundredth of a voxel (affines are often rounded by the tools that write them). */
export function sameGrid(a: Grid, b: Grid): boolean {
  if (a.size.some((n, axis) => n !== b.size[axis])) return false;
  return furthest(a, b) <= 0.01 * Math.min(...voxelSpacing(a.affine));
}

/** How far apart two grids of one size have a voxel at most, mm. */
export function furthest(a: Grid, b: Grid): number {
  const distances = corners(a.size).map((corner) => {
    const [p, q] = [applyAffine(a.affine, corner), applyAffine(b.affine, corner)];
    return Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
  });
  return Math.max(...distances);
}

/** The eight corner voxels of a grid. */
export function corners([w, h, d]: Readonly<Vec3>): Vec3[] {
  return [0, w - 1].flatMap((i) => [0, h - 1].flatMap((j) => [0, d - 1].map((k): Vec3 => [i, j, k])));
}

/** The smallest value, NaN aside: background, where nothing else says what it is. */
export function smallest(data: Float32Array): number {
  let least = Infinity;
  for (let v = 0; v < data.length; v++) if (data[v] < least) least = data[v];
  return least;
}

/** Throws when a voxel is NaN or infinite, and says how many are which. `name` starts the message, usually the file's path. */
export function checkFinite(name: string, { data }: { data: Float32Array }): void {
  let [bad, infinite] = [0, 0];
  for (let n = 0; n < data.length; n++) {
    if (Number.isFinite(data[n])) continue;
    bad++;
    if (!Number.isNaN(data[n])) infinite++;
  }
  const what = infinite === bad ? 'infinite' : infinite ? 'NaN or infinite' : 'NaN';
  if (bad) throw new Error(`${name}: ${bad} of ${data.length} voxels are ${what}; replace them, for instance by the background`);
}

/** Throws when all voxels (inside the mask, where there is one) have one value: there is nothing to register. */
export function checkNotConstant(name: string, { data, mask }: { data: Float32Array; mask?: Float32Array }): void {
  const first =
    data[
      mask
        ? Math.max(
            0,
            mask.findIndex((inside) => inside !== 0),
          )
        : 0
    ];
  for (let n = 0; n < data.length; n++) if (data[n] !== first && (!mask || mask[n] !== 0)) return;
  throw new Error(
    `${name}: all ${mask ? '' : `${data.length} `}voxels ${mask ? 'inside its mask ' : ''}have the value ${first}; a constant image cannot be registered`,
  );
}
