// How much of a displacement is no diffeomorphism when space between voxels is filled by tetrahedra (Liu et al., On Finite Difference Jacobian
// Computation in Deformable Image Registration, IJCV 2024): stricter than central differences, which pass over what turns from voxel to voxel.

type Size = readonly [number, number, number];

/** det of the matrix of three rows. */
const det = (a: number, b: number, c: number, e: number, f: number, g: number, p: number, q: number, r: number): number =>
  a * (f * r - g * q) - b * (e * r - g * p) + c * (e * q - f * p);

/**
 * Non-diffeomorphic volume, % of the region: at every voxel eight tetrahedra to its neighbours along the axes, and one to the diagonal neighbours of each
 * of two cubes, the volume of those that are turned inside out counted half, as two divisions of space count each point twice. Of the voxels inside that
 * have neighbours on all sides; NaN where there are none.
 * @param u displacement [3, D, H, W] in voxels of its own grid
 * @param inside not 0: part of the region
 */
export function nonDiffeomorphicPercent(u: Float32Array, [W, H, D]: Size, inside: ArrayLike<number>): number {
  const n = W * H * D;
  const steps = [1, W, W * H] as const;
  let volume = 0,
    voxels = 0;
  for (let d = 1; d < D - 1; d++)
    for (let h = 1; h < H - 1; h++)
      for (let v = (d * H + h) * W + 1, end = v + W - 2; v < end; v++) {
        if (inside[v] === 0) continue;
        voxels++;
        if (!mayTurn(u, n, v, steps)) continue;
        for (let corner = 0; corner < 8; corner++) {
          const [i, j, k] = [corner & 1 ? 1 : -1, corner & 2 ? 1 : -1, corner & 4 ? 1 : -1] as const;
          volume += turned(i * j * k * along(u, n, v, [i, 0, 0], [0, j, 0], [0, 0, k], steps));
        }
        volume += turned(along(u, n, v, [1, 1, 0], [0, 1, 1], [1, 0, 1], steps));
        volume += turned(-along(u, n, v, [-1, -1, 0], [0, -1, -1], [-1, 0, -1], steps));
      }
  return (100 * volume) / voxels;
}

/** Half the volume of a tetrahedron of six times this signed volume, where that is negative. */
const turned = (six: number): number => (six < 0 ? -six / 12 : 0);

type Step = readonly [number, number, number];

/** det of the images of three steps from a voxel under p + u(p). */
function along(u: Float32Array, n: number, v: number, a: Step, b: Step, c: Step, [i, j, k]: Step): number {
  const image = (step: Step) => {
    const to = v + step[0] * i + step[1] * j + step[2] * k;
    return [step[0] + u[to]! - u[v]!, step[1] + u[to + n]! - u[v + n]!, step[2] + u[to + 2 * n]! - u[v + 2 * n]!] as const;
  };
  return det(...image(a), ...image(b), ...image(c));
}

/**
 * False where all ten determinants are positive for sure, as nearly everywhere: each is that of I + E, which is regular on the whole way from I where the
 * rows of E have absolute sums below 1. Along the axes E holds one-sided differences, along the diagonals half of sums of three differences.
 */
function mayTurn(u: Float32Array, n: number, v: number, [i, j, k]: Step): boolean {
  for (let at = v; at < 3 * n; at += n) {
    const here = u[at]!;
    const off = (to: number) => Math.abs(u[to]! - here);
    if (!(Math.max(off(at + i), off(at - i)) + Math.max(off(at + j), off(at - j)) + Math.max(off(at + k), off(at - k)) < 1)) return true;
    if (!(off(at + i + j) + off(at + j + k) + off(at + i + k) < 2 / 3)) return true;
    if (!(off(at - i - j) + off(at - j - k) + off(at - i - k) < 2 / 3)) return true;
  }
  return false;
}
