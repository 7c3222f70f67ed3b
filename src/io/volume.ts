import { applyAffine, voxelSpacing, type Affine, type Vec3 } from './affine.ts';

/** Where the voxels are: extents along i, j, k (W, H, D) and the affine voxel → RAS mm. */
export interface Grid {
  size: Vec3;
  affine: Affine;
}

/** A scalar image, [D, H, W] with W (= i) fastest. `dtype` is the type on disk; `data` holds the scaled values. */
export interface Volume extends Grid {
  data: Float32Array;
  dtype: string;
  /** Why its voxels may be elsewhere in space than `affine` says: what its file leaves open or contradicts. */
  doubt?: string;
}

/** A volume with, where it matters, a mask on its grid: 1 where it counts, 0 where it does not. */
export interface MaskedVolume extends Volume {
  mask?: Float32Array;
}

export function voxelCount({ size: [w, h, d] }: Grid): number {
  return w * h * d;
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
export function corners([w, h, d]: Vec3): Vec3[] {
  return [0, w - 1].flatMap((i) => [0, h - 1].flatMap((j) => [0, d - 1].map((k): Vec3 => [i, j, k])));
}

/** Throws when a voxel is NaN or infinite, and says how many are. `name` starts the message, usually the file's path. */
export function checkFinite(name: string, { data }: { data: Float32Array }): void {
  let bad = 0;
  for (let n = 0; n < data.length; n++) if (!Number.isFinite(data[n])) bad++;
  if (bad) throw new Error(`${name}: ${bad} of ${data.length} voxels are NaN or infinite; replace them, for instance by the background`);
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
