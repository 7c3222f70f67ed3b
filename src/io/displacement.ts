import { invertAffine, type Affine } from './affine.ts';
import type { Grid } from './volume.ts';

/**
 * ITK's form of a displacement: u in voxels of `grid` (channels i, j, k) → the vector in LPS mm from the fixed point to the moving point.
 * Both are [3, D, H, W]. LPS is RAS with x and y negated; only the 3×3 part of the affine matters.
 */
export function toPhysical(u: Float32Array, grid: Grid): Float32Array {
  return transform(u, grid, lps(grid.affine));
}

/** The inverse of `toPhysical`: LPS mm → voxels of `grid`. */
export function fromPhysical(physical: Float32Array, grid: Grid): Float32Array {
  return transform(physical, grid, invertAffine(lps(grid.affine)));
}

const lps = (ras: Affine): Affine => ras.map((value, n) => (n < 8 ? -value : value));

function transform(u: Float32Array, { size: [w, h, d] }: Grid, m: Affine): Float32Array {
  const n = w * h * d;
  if (u.length !== 3 * n) throw new Error(`displacement of a ${w}×${h}×${d} grid has ${3 * n} values, got ${u.length}`);
  const [xi, xj, xk, , yi, yj, yk, , zi, zj, zk] = m;
  const out = new Float32Array(3 * n);
  for (let p = 0; p < n; p++) {
    const i = u[p], j = u[n + p], k = u[2 * n + p];
    out[p] = xi * i + xj * j + xk * k;
    out[n + p] = yi * i + yj * j + yk * k;
    out[2 * n + p] = zi * i + zj * j + zk * k;
  }
  return out;
}
