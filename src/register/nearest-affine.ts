// The affine map nearest to a displacement field's, and what is left of the field beside it.
import { type Affine, applyAffine, composeAffine, identityAffine, invertAffine } from '../io/affine.ts';
import type { DisplacementField } from '../io/nifti.ts';
import { type Grid, voxelCount } from '../io/volume.ts';
import { scattered } from './scattered.ts';

/** Voxels that the fit is made from, about. */
const SAMPLES = 1e5;
/** LPS mm ↔ RAS mm. */
const SIGNS = [-1, -1, 1];

/** Calls back with voxels of a grid, all or about so many: their numbers and places in RAS mm. */
function each(grid: Grid, most: number, visit: (v: number, place: readonly number[]) => void): void {
  const {
    size: [w, h],
    affine,
  } = grid;
  for (const v of scattered(voxelCount(grid), most)) visit(v, applyAffine(affine, [v % w, Math.floor(v / w) % h, Math.floor(v / (w * h))]));
}

const along = ({ data }: { data: Float32Array }, v: number): number[] => SIGNS.map((sign, c) => sign * data[(c * data.length) / 3 + v]);

/**
 * The affine map (RAS mm) that is nearest to the field's x ↦ x + u(x) at its voxels, by least squares; the identity where they lie in a
 * plane.
 */
export function nearestAffine(field: DisplacementField): Affine {
  const axes = [0, 1, 2];
  const [sumX, sumY] = [
    [0, 0, 0],
    [0, 0, 0],
  ];
  const [xx, yx] = [axes, axes].map(() => axes.map(() => [0, 0, 0]));
  let n = 0;
  each(field, SAMPLES, (v, x) => {
    const u = along(field, v);
    n++;
    for (const a of axes) {
      sumX[a] += x[a];
      sumY[a] += x[a] + u[a];
      for (const b of axes) {
        xx[a][b] += x[a] * x[b];
        yx[a][b] += (x[a] + u[a]) * x[b];
      }
    }
  });
  const centred = (sums: number[][], first: number[]) =>
    axes.flatMap((a) => [...axes.map((b) => sums[a][b] / n - (first[a] / n) * (sumX[b] / n)), 0]);
  try {
    const linear = composeAffine(centred(yx, sumY), invertAffine(centred(xx, sumX)));
    const moved = applyAffine(
      linear,
      sumX.map((sum) => sum / n),
    );
    return linear.map((value, i) => (i % 4 === 3 ? sumY[(i - 3) / 4] / n - moved[(i - 3) / 4] : value));
  } catch {
    return identityAffine;
  }
}

/**
 * The field without an affine map A that comes first: x + u(x) = ψ(A·x), ψ on the grid that A makes of the field's. Nothing is resampled.
 */
export function withoutAffine(field: DisplacementField, a: Affine): DisplacementField {
  const data = new Float32Array(field.data.length);
  each(field, Infinity, (v, x) => {
    const [u, ax] = [along(field, v), applyAffine(a, x)];
    SIGNS.forEach((sign, c) => (data[(c * data.length) / 3 + v] = sign * (x[c] + u[c] - ax[c])));
  });
  return { size: field.size, affine: composeAffine(a, field.affine), data };
}

/** The field of x ↦ A·(x + u(x)). */
export function followedBy(field: DisplacementField, a: Affine): DisplacementField {
  const data = new Float32Array(field.data.length);
  each(field, Infinity, (v, x) => {
    const u = along(field, v);
    const y = applyAffine(a, x.map((value, c) => value + u[c])); // prettier-ignore
    SIGNS.forEach((sign, c) => (data[(c * data.length) / 3 + v] = sign * (y[c] - x[c])));
  });
  return { ...field, data };
}
