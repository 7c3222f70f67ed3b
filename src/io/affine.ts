/** 12 numbers, the rows of a 3×4 matrix: voxel (i, j, k) → RAS mm (x right, y anterior, z superior). */
export type Affine = readonly number[];
export type Vec3 = [number, number, number];

export const identityAffine: Affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];

/** |det| over the product of the column lengths, below which a matrix counts as singular; 1 for a rotation with any spacing. */
const SINGULAR = 1e-6;

/** RAS mm → voxel. Throws when the matrix is not 12 finite numbers or is singular. */
export function invertAffine(a: Affine): Affine {
  if (a.length !== 12 || !a.every(Number.isFinite)) throw new Error(`affine is not 12 finite numbers: ${show(a)}`);
  const [m00, m01, m02, t0, m10, m11, m12, t1, m20, m21, m22, t2] = a;
  const det = determinant(a);
  const c00 = m11 * m22 - m12 * m21,
    c01 = m02 * m21 - m01 * m22,
    c02 = m01 * m12 - m02 * m11;
  const c10 = m12 * m20 - m10 * m22,
    c11 = m00 * m22 - m02 * m20,
    c12 = m02 * m10 - m00 * m12;
  const c20 = m10 * m21 - m11 * m20,
    c21 = m01 * m20 - m00 * m21,
    c22 = m00 * m11 - m01 * m10;
  const [si, sj, sk] = voxelSpacing(a);
  if (!(Math.abs(det) > SINGULAR * si * sj * sk)) throw new Error(`affine is singular: ${show(a)}`);
  const row = (x: number, y: number, z: number) => [x / det, y / det, z / det, -(x * t0 + y * t1 + z * t2) / det];
  const inverse = [...row(c00, c01, c02), ...row(c10, c11, c12), ...row(c20, c21, c22)];
  if (!inverse.every(Number.isFinite)) throw new Error(`affine is singular: ${show(a)}`);
  return inverse;
}

/** Of the 3×3 part: mm³ of a voxel, negative where the axes are left-handed. */
export function determinant([a, b, c, , d, e, f, , g, h, i]: Affine): number {
  return a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g);
}

/** a after b: the affine p ↦ a(b(p)). */
export function composeAffine(a: Affine, b: Affine): Affine {
  const out: number[] = [];
  for (let row = 0; row < 12; row += 4) {
    for (let col = 0; col < 4; col++) {
      out.push(a[row] * b[col] + a[row + 1] * b[4 + col] + a[row + 2] * b[8 + col] + (col === 3 ? a[row + 3] : 0));
    }
  }
  return out;
}

export function applyAffine(a: Affine, [x, y, z]: readonly number[]): Vec3 {
  const row = (r: number) => a[r] * x + a[r + 1] * y + a[r + 2] * z + a[r + 3];
  return [row(0), row(4), row(8)];
}

/** A point in RAS mm as LPS mm, or the reverse. */
export const lpsOf = ([x, y, z]: readonly number[]): Vec3 => [-x, -y, z];

/** Length in mm of one voxel step along i, j and k. */
export function voxelSpacing(a: Affine): Vec3 {
  const column = (c: number) => Math.hypot(a[c], a[4 + c], a[8 + c]);
  return [column(0), column(1), column(2)];
}

/** Maps a voxel of grid `from` to the voxel of grid `to` at the same place: inverse(to) after from. */
export function voxelToVoxel(from: Affine, to: Affine): Affine {
  return composeAffine(invertAffine(to), from);
}

const show = (a: Affine) => `[${a.join(', ')}]`;

/** An axis of a volume, by the anatomy. */
export interface Axis {
  voxel: number; // the voxel axis (0 i, 1 j, 2 k) closest to an anatomical axis
  step: number; // its spacing, mm
  flip: boolean; // it runs towards left, posterior or inferior
}

/** The voxel axes closest to x (right), y (anterior) and z (superior). */
export function anatomicalAxes(affine: Affine): Axis[] {
  const spacing = voxelSpacing(affine);
  const along = (anatomical: number, voxel: number) => affine[4 * anatomical + voxel] / spacing[voxel];
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  const fit = orders.map((order) => order.reduce((sum, voxel, axis) => sum + Math.abs(along(axis, voxel)), 0));
  return orders[fit.indexOf(Math.max(...fit))].map((voxel, axis) => ({ voxel, step: spacing[voxel], flip: along(axis, voxel) < 0 }));
}
