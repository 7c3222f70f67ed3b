// How much of a displacement is no diffeomorphism when space between voxels is filled by tetrahedra (Liu et al., On Finite Difference
// Jacobian Computation in Deformable Image Registration, IJCV 2024): stricter than central differences, which pass over what turns from
// voxel to voxel.

import type { Vec3 } from '../io/affine.ts';
import { checkDisplacement, checkLength } from './lengths.ts';

/**
 * Non-diffeomorphic volume, % of the region: at every voxel eight tetrahedra to its neighbours along the axes, and one to the diagonal
 * neighbours of each of two cubes, the volume of those that are turned inside out counted half, as two divisions of space count each point
 * twice. Of the voxels inside that have neighbours on all sides; NaN where there are none, or u is NaN.
 * @param u displacement [3, D, H, W] in voxels of its own grid
 * @param inside not 0: part of the region; default: all
 */
export function nonDiffeomorphicPercent(u: Float32Array, size: Readonly<Vec3>, inside?: ArrayLike<number>): number {
  checkDisplacement('nonDiffeomorphicPercent', u, size);
  if (inside) checkLength('nonDiffeomorphicPercent', 'voxels of `inside`', inside.length, u.length / 3, size);
  const [W, H, D] = size;
  const n = W * H * D,
    S = W * H;
  let six = 0,
    voxels = 0;
  for (let d = 1; d < D - 1; d++)
    for (let h = 1; h < H - 1; h++)
      for (let v = (d * H + h) * W + 1, end = v + W - 2; v < end; v++) {
        if (inside && inside[v] === 0) continue;
        voxels++;
        const p = v + n,
          q = p + n;
        const u0 = u[v],
          u1 = u[p],
          u2 = u[q];
        // The edges along each axis under p + u(p), from the voxel on (x, y, z) and up to it (X, Y, Z).
        const x0 = 1 + u[v + 1] - u0, x1 = u[p + 1] - u1, x2 = u[q + 1] - u2; // prettier-ignore
        const X0 = 1 + u0 - u[v - 1], X1 = u1 - u[p - 1], X2 = u2 - u[q - 1]; // prettier-ignore
        const y0 = u[v + W] - u0, y1 = 1 + u[p + W] - u1, y2 = u[q + W] - u2; // prettier-ignore
        const Y0 = u0 - u[v - W], Y1 = 1 + u1 - u[p - W], Y2 = u2 - u[q - W]; // prettier-ignore
        const z0 = u[v + S] - u0, z1 = u[p + S] - u1, z2 = 1 + u[q + S] - u2; // prettier-ignore
        const Z0 = u0 - u[v - S], Z1 = u1 - u[p - S], Z2 = 1 + u2 - u[q - S]; // prettier-ignore
        // Those on either side along x, over the area that two edges along y and z span.
        six += both(x0, x1, x2, X0, X1, X2, y1 * z2 - y2 * z1, y2 * z0 - y0 * z2, y0 * z1 - y1 * z0);
        six += both(x0, x1, x2, X0, X1, X2, y1 * Z2 - y2 * Z1, y2 * Z0 - y0 * Z2, y0 * Z1 - y1 * Z0);
        six += both(x0, x1, x2, X0, X1, X2, Y1 * z2 - Y2 * z1, Y2 * z0 - Y0 * z2, Y0 * z1 - Y1 * z0);
        six += both(x0, x1, x2, X0, X1, X2, Y1 * Z2 - Y2 * Z1, Y2 * Z0 - Y0 * Z2, Y0 * Z1 - Y1 * Z0);
        for (let s = -1; s <= 1; s += 2) {
          // along the diagonals of three sides of a cube
          const a = s * (1 + W),
            b = s * (W + S),
            c = s * (1 + S);
          const a0 = 1 + s * (u[v + a] - u0), a1 = 1 + s * (u[p + a] - u1), a2 = s * (u[q + a] - u2); // prettier-ignore
          const b0 = s * (u[v + b] - u0), b1 = 1 + s * (u[p + b] - u1), b2 = 1 + s * (u[q + b] - u2); // prettier-ignore
          const c0 = 1 + s * (u[v + c] - u0), c1 = s * (u[p + c] - u1), c2 = 1 + s * (u[q + c] - u2); // prettier-ignore
          six += turned(a0, a1, a2, b1 * c2 - b2 * c1, b2 * c0 - b0 * c2, b0 * c1 - b1 * c0);
        }
      }
  return (100 * six) / 12 / voxels;
}

/** Six times the volume of the tetrahedron of an edge over twice the area n of two others, where it is turned inside out, else 0. */
function turned(x: number, y: number, z: number, n0: number, n1: number, n2: number): number {
  const six = x * n0 + y * n1 + z * n2;
  return six >= 0 ? 0 : -six; // NaN stays NaN
}
/** The same of two edges. */
const both = (x: number, y: number, z: number, X: number, Y: number, Z: number, n0: number, n1: number, n2: number): number =>
  turned(x, y, z, n0, n1, n2) + turned(X, Y, Z, n0, n1, n2);
