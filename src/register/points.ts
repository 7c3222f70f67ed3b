// Points through a displacement.
import { applyAffine, invertAffine, lpsOf } from '../io/affine.ts';
import type { DisplacementField } from '../io/nifti.ts';
import { checkValues } from '../io/volume.ts';
import { contains } from './overlap.ts';

/**
 * Where a displacement takes points: x + u(x), u linear between voxels, beyond its grid as at the border. As images are pulled back, the
 * displacement of a registration takes points of the fixed image to the moving one, and its inverse takes points of the moving image to the
 * fixed one.
 * @param field LPS mm, as `toPhysical` and `readDisplacement` give
 * @param points LPS mm, n×3
 * @returns the points, and how many of them lay beyond the grid
 */
export function transformPoints(field: DisplacementField, points: Float64Array): { points: Float64Array; outside: number } {
  checkValues('field', field, 3);
  if (points.length % 3) throw new Error(`points: ${points.length} numbers are no points x, y, z`);
  const toVoxel = invertAffine(field.affine);
  const moved = new Float64Array(points.length);
  let outside = 0;
  for (let n = 0; n < points.length; n += 3) {
    const voxel = applyAffine(toVoxel, lpsOf([points[n], points[n + 1], points[n + 2]]));
    if (!contains(field, ...voxel)) outside++;
    sample(field.data, field.size, voxel).forEach((x, axis) => (moved[n + axis] = points[n + axis] + x));
  }
  return { points: moved, outside };
}

/** A field [3, D, H, W] at a continuous voxel position p, linear, border clamped. */
export function sample(u: Float32Array, [W, H, D]: readonly [number, number, number], p: ArrayLike<number>): number[] {
  const split = (x: number, n: number) => {
    const clamped = Math.min(Math.max(x, 0), n - 1);
    const low = Math.min(Math.floor(clamped), Math.max(n - 2, 0));
    return [low, Math.min(low + 1, n - 1), clamped - low] as const;
  };
  const [w0, w1, tw] = split(p[0], W),
    [h0, h1, th] = split(p[1], H),
    [d0, d1, td] = split(p[2], D);
  return [0, 1, 2].map((channel) => {
    const at = (d: number, h: number, w: number) => u[((channel * D + d) * H + h) * W + w];
    const row = (d: number, h: number) => at(d, h, w0) * (1 - tw) + at(d, h, w1) * tw;
    const plane = (d: number) => row(d, h0) * (1 - th) + row(d, h1) * th;
    return plane(d0) * (1 - td) + plane(d1) * td;
  });
}
