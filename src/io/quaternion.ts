import { composeAffine, invertAffine, voxelSpacing, type Affine } from './affine.ts';

/** A NIfTI qform: R(a, b, c, d)·diag(si, sj, qfac·sk), where a = √(1 − b² − c² − d²) ≥ 0 and s is the voxel spacing. */
export interface Quaternion {
  b: number;
  c: number;
  d: number;
  qfac: 1 | -1;
  rigid: boolean; // false when the affine is sheared, so that the qform is only its nearest rotation
}

/** The closest rotation to an affine (polar decomposition, Newton's iteration; Higham 1986), as nifti_mat44_to_quatern does. */
export function quaternionOf(affine: Affine): Quaternion {
  const [si, sj, sk] = voxelSpacing(affine);
  const directions = affine.map((value, n) => (n % 4 === 3 ? 0 : value / [si, sj, sk][n % 4]));
  let r: number[] = directions;
  for (let step = 0; step < 20; step++) {
    const inverse = invertAffine(r);
    r = r.map((value, n) => (n % 4 === 3 ? 0 : (value + inverse[4 * (n % 4) + (n >> 2)]) / 2));
  }
  const rigid = directions.every((value, n) => Math.abs(value - r[n]) < 1e-4);
  const det = r[0] * (r[5] * r[10] - r[6] * r[9]) - r[1] * (r[4] * r[10] - r[6] * r[8]) + r[2] * (r[4] * r[9] - r[5] * r[8]);
  const qfac = det < 0 ? -1 : 1;
  const [xx, xy, xz, , yx, yy, yz, , zx, zy, zz] = composeAffine(r, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, qfac, 0]);

  // Four ways to the same quaternion; the one that starts from its largest component loses no digits.
  const candidates = [
    [1 + xx + yy + zz, zy - yz, xz - zx, yx - xy],
    [zy - yz, 1 + xx - yy - zz, xy + yx, xz + zx],
    [xz - zx, xy + yx, 1 - xx + yy - zz, yz + zy],
    [yx - xy, xz + zx, yz + zy, 1 - xx - yy + zz],
  ];
  const diagonal = candidates.map((q, n) => q[n]);
  const best = candidates[diagonal.indexOf(Math.max(...diagonal))];
  const length = Math.hypot(...best) * (best[0] < 0 ? -1 : 1);
  const [, b, c, d] = best.map((value) => value / length);
  return { b, c, d, qfac, rigid };
}
