// The part of a fixed image that is solved on: all of it, unless most of it is empty. What is empty would cost as much as what is not, and
// dilute the residual's mean.
import { composeAffine, type Vec3, voxelSpacing } from '../io/affine.ts';
import { gridOf, type MaskedVolume, smallest } from '../io/volume.ts';
import type { Described } from './options.ts';

/** A box of voxels (i, j, k): its first one, and how many there are along each axis. */
export interface Region {
  first: Readonly<Vec3>;
  size: Readonly<Vec3>;
}

/** Voxels of the finest axis that are kept around what is there: LNCC's windows see them. */
const MARGIN = 12;
/** Share of the grid above which it is solved on as it is. */
const MOST = 0.5;

/**
 * The box around all values but the smallest, which is the background, and a margin; none where that is most of the image, or its values
 * are unknown.
 */
export function regionOf({ size, affine, data }: Described): Region | undefined {
  if (!data) return undefined;
  const [w, h, d] = size;
  const background = smallest(data);
  const [low, high] = [
    [w, h, d],
    [-1, -1, -1],
  ];
  const meet = (axis: number, at: number) => {
    low[axis] = Math.min(low[axis], at);
    high[axis] = Math.max(high[axis], at);
  };
  for (let k = 0; k < d; k++)
    for (let j = 0; j < h; j++) {
      const row = (k * h + j) * w;
      let [from, to] = [0, w - 1];
      while (from < w && !(data[row + from] > background)) from++;
      if (from === w) continue;
      while (!(data[row + to] > background)) to--;
      meet(0, from);
      meet(0, to);
      meet(1, j);
      meet(2, k);
    }
  if (high[0] < 0) return undefined;
  const spacing = voxelSpacing(affine);
  const margin = spacing.map((mm) => Math.ceil((MARGIN * Math.min(...spacing)) / mm));
  const first = low.map((at, axis) => Math.max(0, at - margin[axis])) as Vec3;
  const kept = high.map((at, axis) => Math.min(size[axis], at + margin[axis] + 1) - first[axis]) as Vec3;
  const voxels = (box: Readonly<Vec3>) => box[0] * box[1] * box[2];
  return voxels(kept) < MOST * voxels(size) ? { first, size: kept } : undefined;
}

/** An image in a region alone: a grid, and the values and the mask if it has them. */
export function within<Image extends Described>(image: Image, region: Region | undefined): Image {
  if (!region) return image;
  const { first, size } = region;
  const affine = composeAffine(image.affine, [1, 0, 0, first[0], 0, 1, 0, first[1], 0, 0, 1, first[2]]);
  const { data, mask } = image as Partial<MaskedVolume>;
  const part = (values: Float32Array) => {
    const [w, h] = image.size;
    const kept = new Float32Array(size[0] * size[1] * size[2]);
    for (let k = 0, at = 0; k < size[2]; k++)
      for (let j = 0; j < size[1]; j++, at += size[0]) {
        const from = ((first[2] + k) * h + first[1] + j) * w + first[0];
        kept.set(values.subarray(from, from + size[0]), at);
      }
    return kept;
  };
  return { ...image, ...gridOf({ ...image, size, affine }), ...(data && { data: part(data) }), ...(mask && { mask: part(mask) }) };
}
