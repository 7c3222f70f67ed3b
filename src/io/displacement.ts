import { invertAffine, type Affine } from './affine.ts';
import type { Grid } from './volume.ts';

interface Form {
  /** Extents that follow W×H×D. */
  more: readonly number[];
  /** Intent codes it is read with; it is written with the first. */
  intents: readonly number[];
  layout: string;
  description: string;
}

/**
 * How displacement files are laid out. The values are [3, D, H, W] in all of them, the grid is the fixed image's:
 * - itk: LPS mm from the fixed point to the moving point, as ITK and ANTs write it;
 * - learn2reg: voxels along (i, j, k), for two images on one grid;
 * - ras: RAS mm, as NIfTI defines its displacement vectors, which ITK (from 5.4 on), Slicer and FreeSurfer turn to their own axes.
 */
export const displacementForms = {
  itk: {
    more: [1, 3],
    intents: [1007],
    layout: 'W×H×D×1×3, intent 1007 (as ITK and ANTs write it)',
    description: 'displacement, LPS mm, fixed to moving point',
  },
  learn2reg: { more: [3], intents: [0, 1006, 1007], layout: 'W×H×D×3', description: 'displacement, voxels i, j, k, fixed to moving point' },
  ras: {
    more: [1, 3],
    intents: [1006],
    layout: 'W×H×D×1×3, intent 1006',
    description: 'displacement, RAS mm, fixed to moving point',
  },
} satisfies Record<string, Form>;
export type DisplacementForm = keyof typeof displacementForms;

/** Which form a file's extents and intent code are of; none for what is no displacement. */
export function formOf(extents: readonly number[], intent: number): DisplacementForm | undefined {
  const rest = extents.slice(3);
  const fits = ({ more, intents }: Form) =>
    intents.includes(intent) && more.every((n, axis) => n === rest[axis]) && rest.slice(more.length).every((n) => n === 1);
  return (Object.keys(displacementForms) as DisplacementForm[]).find((form) => fits(displacementForms[form]));
}

/** The values of one form as those of another, on the same grid; the same array where nothing changes. */
export function convertDisplacement(data: Float32Array, grid: Grid, from: DisplacementForm, to: DisplacementForm): Float32Array {
  for (const form of [from, to])
    if (!Object.hasOwn(displacementForms, form))
      throw new Error(`convertDisplacement: ${form} is none of ${Object.keys(displacementForms).join(', ')}`);
  if (from === to) return data;
  const itk = from === 'itk' ? data : from === 'ras' ? turned(data) : toPhysical(data, grid);
  return to === 'itk' ? itk : to === 'ras' ? turned(itk) : fromPhysical(itk, grid);
}

/** RAS as LPS, or LPS as RAS: x and y negated. */
const turned = (data: Float32Array): Float32Array => data.map((value, n) => (3 * n < 2 * data.length ? -value : value));

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
    const i = u[p],
      j = u[n + p],
      k = u[2 * n + p];
    out[p] = xi * i + xj * j + xk * k;
    out[n + p] = yi * i + yj * j + yk * k;
    out[2 * n + p] = zi * i + zj * j + zk * k;
  }
  return out;
}
