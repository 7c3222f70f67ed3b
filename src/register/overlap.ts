// Do two volumes share space, and where? Before hours are spent on two that do not.
import { type Affine, applyAffine, composeAffine, invertAffine, voxelToVoxel } from '../io/affine.ts';
import { corners, type Grid, smallest, voxelCount } from '../io/volume.ts';
import { matrixBetween } from './pyramid.ts';

/** The moving grid where a transform (fixed point → moving point, RAS mm) puts it, as if its header said so. */
export const placed = <G extends Grid>(moving: G, transform?: Affine): G =>
  transform ? { ...moving, affine: composeAffine(invertAffine(transform), moving.affine) } : moving;

/** Is a point, in voxels of a grid, in one of its voxels? */
export const contains = ({ size: [w, h, d] }: Grid, x: number, y: number, z: number): boolean =>
  x >= -0.5 && x <= w - 0.5 && y >= -0.5 && y <= h - 0.5 && z >= -0.5 && z <= d - 0.5;

/** Fraction of a grid's voxels whose place in space lies inside another grid; a transform (RAS mm) moves them there first. */
export function overlap(grid: Grid, other: Grid, transform?: Affine): number {
  const toOther = matrixBetween(grid, other, transform);
  const [w, h, d] = grid.size;
  if (corners(grid.size).every((corner) => contains(other, ...applyAffine(toOther, corner)))) return 1; // a box holds what is between, too
  let inside = 0;
  for (let k = 0; k < d; k++)
    for (let j = 0; j < h; j++) {
      // A row of voxels is a line, of which a box holds one piece.
      const start = applyAffine(toOther, [0, j, k]);
      let first = 0,
        last = w - 1;
      for (const [axis, x] of start.entries()) {
        const step = toOther[4 * axis];
        const [low, high] = [-0.5 - x, other.size[axis] - 0.5 - x];
        if (step === 0 && (low > 0 || high < 0)) last = -1;
        if (step === 0) continue;
        first = Math.max(first, Math.ceil(Math.min(low / step, high / step)));
        last = Math.min(last, Math.floor(Math.max(low / step, high / step)));
      }
      inside += Math.max(0, last - first + 1);
    }
  return inside / (w * h * d);
}

/** Volumes of which less than this share lies inside the other have nothing to be compared by. */
export const LEAST_SHARED = 0.05;

/** Throws when less than a twentieth of either volume lies inside the other. */
export function checkOverlap(fixed: Grid, moving: Grid): void {
  const shares = [overlap(fixed, moving), overlap(moving, fixed)];
  if (Math.max(...shares) >= LEAST_SHARED) return;
  const [fixedShare, movingShare] = shares.map((share) => `${(100 * share).toFixed(0)} %`);
  throw new Error(
    `the volumes do not overlap: ${fixedShare} of the fixed grid lies inside the moving one, ${movingShare} the other way round; ` +
      "check the headers' affines (sform/qform), or, where they mean nothing, ask for an alignment by name: affine 'affine', 'rigid' or 'moments' ('auto' trusts them)",
  );
}

/** Less of the fixed grid than this outside the moving image is passed over. */
export const NEGLIGIBLE = 0.01;

/** Does a noticeable part of the fixed grid lie where the moving image, after the transform, has no voxels? */
export const reachesOut = (fixed: Grid, moving: Grid, transform?: Affine): boolean => overlap(fixed, moving, transform) < 1 - NEGLIGIBLE;

/** The headers' places of images that share less than this share of the fixed grid are no start for an alignment. */
const MEANT = 0.25;

/** Do the headers put a noticeable part of the fixed grid, but not most of it, outside the moving image? */
export const partly = (fixed: Grid, moving: Grid): boolean => reachesOut(fixed, moving) && overlap(fixed, moving) >= MEANT;

/**
 * 1 for each voxel of the fixed grid, of those that `mask` has, that lies in the moving image after the transform, else 0. Throws where
 * there is none.
 */
export function covered(fixed: Grid & { mask?: Float32Array }, moving: Grid, transform?: Affine): Float32Array {
  const [w, h, d] = fixed.size;
  const toMoving = matrixBetween(fixed, moving, transform);
  const inside = new Float32Array(voxelCount(fixed));
  for (let k = 0, v = 0; k < d; k++)
    for (let j = 0; j < h; j++)
      for (let i = 0; i < w; i++, v++) {
        if ((!fixed.mask || fixed.mask[v]) && contains(moving, ...applyAffine(toMoving, [i, j, k]))) inside[v] = 1;
      }
  if (!inside.includes(1))
    throw new Error('no voxel that counts of the fixed image lies in the moving one; check masks and headers, or take another affine mode');
  return inside;
}

/**
 * Gives the voxels of a warped image that come from beyond the moving image a value, by default its smallest, which is background; to half
 * a voxel beyond its border they keep that of the border. The displacement [3, D, H, W] is in voxels of the fixed grid.
 */
export function blankBeyond(
  warped: Float32Array,
  displacement: Float32Array,
  { size: [w, h, d], affine }: Grid,
  moving: Grid & { data: Float32Array },
  background = smallest(moving.data),
): void {
  const m = voxelToVoxel(affine, moving.affine);
  const n = w * h * d;
  for (let k = 0, v = 0; k < d; k++)
    for (let j = 0; j < h; j++)
      for (let i = 0; i < w; i++, v++) {
        const a = i + displacement[v];
        const b = j + displacement[n + v];
        const c = k + displacement[2 * n + v];
        const x = m[0] * a + m[1] * b + m[2] * c + m[3];
        const y = m[4] * a + m[5] * b + m[6] * c + m[7];
        const z = m[8] * a + m[9] * b + m[10] * c + m[11];
        if (!contains(moving, x, y, z)) warped[v] = background;
      }
}
