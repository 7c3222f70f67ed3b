// Whether arrays have as many values as the grids that they are on, said alike by all figures.
import type { Vec3 } from '../io/affine.ts';

type Size = Readonly<Vec3>;

/** Throws where something is not a value a voxel. */
export function checkLength(where: string, what: string, length: number, expected: number, size: Size): void {
  if (length !== expected) throw new Error(`${where}: ${length} ${what} on a grid of ${size.join('×')} = ${expected} voxels`);
}

/** Throws where u is not [3, D, H, W]. */
export function checkDisplacement(where: string, u: Float32Array, size: Size): void {
  const expected = 3 * size[0] * size[1] * size[2];
  if (u.length === expected) return;
  throw new Error(`${where}: displacement of ${u.length} values on a grid of ${size.join('×')}; expected 3 × voxels = ${expected}`);
}
