// Displacement fields as tools: local volume change, the inverse, one after another. A field is in ITK's form: [3, D, H, W], LPS mm
// from each voxel of its own grid to the point it maps to; beyond its grid it goes on as at the border.
import type { Gpu } from '../gpu/device.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import { checkOptions, checkSignal } from '../graph/options.ts';
import { LEAST_BINDING, type Plan, plan } from '../graph/plan.ts';
import { runOnce, Schedule } from '../graph/schedule.ts';
import { type Affine, applyAffine, determinant, identityAffine, invertAffine } from '../io/affine.ts';
import { fromPhysical, toPhysical } from '../io/displacement.ts';
import type { DisplacementField } from '../io/nifti.ts';
import { checkFinite, checkGeometry, checkValues, type Float32Volume, type Grid, gridOf, voxelCount } from '../io/volume.ts';
import { add, concat, inverse, jacobianDeterminant, type Matrix, warp } from '../ops/index.ts';
import { followedBy, nearestAffine, withoutAffine } from './nearest-affine.ts';
import { contains } from './overlap.ts';
import { matrixBetween, shapeOf } from './pyramid.ts';
import { cut, paste, slabOf, slabs } from './slabs.ts';

/**
 * det of the map's derivative at every voxel: the local change of volume, no unit; ≤ 0 is a fold. Central differences.
 * @param field LPS mm, as `toPhysical` and `readDisplacement` give
 */
export async function jacobian(gpu: Gpu, field: DisplacementField): Promise<Float32Volume> {
  checkField('field', field);
  const data = new Float32Array(voxelCount(field));
  const u = fromPhysical(field.data, field);
  for (const slab of slabs(field)) {
    const wider = slabOf(field, Math.max(0, slab.from - 1), Math.min(field.size[2], slab.to + 1)); // differences look one slice further
    const graph = new Graph();
    const input = graph.input('displacement', [1, 3, ...shapeOf(wider.grid)]);
    const det = graph.phase('jacobian', () => graph.output(jacobianDeterminant(input)));
    const part = await runOnce(gpu, graph, [[input, cut(u, field, wider)]], det);
    const slice = field.size[0] * field.size[1];
    paste(data, part.subarray((slab.from - wider.from) * slice, (slab.to - wider.from) * slice), field, slab);
  }
  return { ...gridOf(field), data, dtype: 'float32' };
}

/** Throws on what is no displacement field, or has values that are not finite. */
export function checkField(name: string, field: DisplacementField): void {
  checkValues(name, field, 3);
  checkFinite(name, field);
}

/** The field of an affine (RAS mm), in LPS mm on a grid. */
export function fieldOfAffine(affine: Affine, grid: Grid): DisplacementField {
  checkGeometry('grid', grid);
  invertAffine(affine); // throws on what is none
  return followedBy({ ...gridOf(grid), data: new Float32Array(3 * voxelCount(grid)) }, affine);
}

/**
 * The field of x ↦ first(second(x)), on the grid of `second`: what warping an image by `first`, and the result by `second`, does in
 * one step. Throws when `second` maps to places outside the grid of `first` alone. Fields in LPS mm; `first` may be an affine, in RAS mm.
 */
export async function composeFields(gpu: Gpu, first: DisplacementField | Affine, second: DisplacementField): Promise<DisplacementField> {
  checkField('second', second);
  if (isAffine(first)) {
    invertAffine(first); // throws on what is none
    return followedBy(second, first);
  }
  checkField('first', first);
  checkReach(second, first);
  const data = new Float32Array(3 * voxelCount(second));
  const steps = fromPhysical(second.data, second);
  for (const slab of slabs(second)) {
    const graph = new Graph();
    const a = components(graph, first);
    const [b, u] = ['second', 'steps'].map((name) => graph.input(name, [1, 3, ...shapeOf(slab.grid)])) as [Tensor, Tensor];
    const sum = graph.phase('compose', () => graph.output(add(b, sample(a, u, matrixBetween(slab.grid, first))))); // mm + mm, sampled at voxels
    const inputs: [Tensor, Float32Array][] = [[b, cut(second.data, second, slab)], [u, cut(steps, second, slab)], ...each(a, first.data)];
    paste(data, await runOnce(gpu, graph, inputs, sum), second, slab);
  }
  return { ...gridOf(second), data };
}

export const isAffine = (map: DisplacementField | Affine): map is Affine => Array.isArray(map);

export interface InvertOptions {
  /** Where the inverse lives: usually the moving image's grid. Default: the field's own. */
  grid?: Grid;
  /** A voxel is solved when u(p + v(p)) + v(p) is no longer than this, in voxels of the inverse's grid. Default 0.005. */
  tolerance?: number;
  /** Newton's iterations at most, at a voxel, those that halve a step among them. Default 40. */
  maxIterations?: number;
  /**
   * Ends the inversion once it is aborted, at the latest after a slab of 8 million voxels: the promise rejects with the signal's reason.
   */
  signal?: AbortSignal;
}

/** Lengths of u(p + v(p)) + v(p), which is 0 for the exact inverse; of a field with a large affine part, where v leads into its grid. */
export interface InverseResidual {
  mean: number;
  rms: number;
  max: number;
}

export interface InverseOutcome {
  /** Of the inverse's voxels, %: those where no v was found to the tolerance. */
  unsolvedPercent: number;
  voxels: InverseResidual;
  mm: InverseResidual;
}

/** An affine part of a field is inverted by itself where one of its entries is this far from the identity's, … */
const TURNED = 0.1;
/** … unless it shrinks volumes by more than this, as where the field maps everything to one place, so that it has no inverse either. */
const FLAT = 1e-3;

/**
 * The inverse v of a field u: u(p + v(p)) + v(p) = 0 at every voxel p, by damped Newton steps at each. Where the field folds, several
 * points lead to p, and v is the way back to one of them, if any is found. A large affine part A is taken out first: x + u(x) = ψ(A·x), v
 * that of A⁻¹·ψ⁻¹. Throws when the field maps to places outside the inverse's grid alone.
 * @param field LPS mm, as `toPhysical` and `readDisplacement` give; the inverse too
 */
export async function invert(
  gpu: Gpu,
  field: DisplacementField,
  options: InvertOptions = {},
): Promise<{ field: DisplacementField; outcome: InverseOutcome }> {
  const { grid = field, tolerance = 0.005, maxIterations = 40, signal } = options;
  checkOptions('invert', options, ['grid', 'tolerance', 'maxIterations', 'signal']);
  checkSignal(signal);
  checkField('field', field);
  checkGeometry('grid', grid);
  if (!(tolerance >= 0)) throw new Error(`invert: tolerance must be a number of voxels ≥ 0, got ${tolerance}`);
  if (!Number.isInteger(maxIterations) || maxIterations < 1)
    throw new Error(`invert: maxIterations must be a whole number above 0, got ${maxIterations}`);
  checkReach(field, grid);
  const rule = { tolerance, iterations: maxIterations };
  const affine = nearestAffine(field);
  const turns = affine.some((x, i) => i % 4 !== 3 && Math.abs(x - identityAffine[i]) > TURNED);
  if (!turns || Math.abs(determinant(affine)) < FLAT) return invertDeformation(gpu, field, grid, rule, signal);
  const { field: deformed, outcome } = await invertDeformation(gpu, withoutAffine(field, affine), grid, rule, signal);
  const inverse = followedBy(deformed, invertAffine(affine));
  return { field: inverse, outcome: { ...outcome, ...(await residualOf(gpu, field, inverse)) } };
}

/**
 * u(p + v(p)) + v(p) of the fields as they are, where v leads into the grid of u: what goes on beyond it as at its border turns no further.
 */
async function residualOf(
  gpu: Gpu,
  field: DisplacementField,
  inverse: DisplacementField,
): Promise<Record<'voxels' | 'mm', InverseResidual>> {
  const { data } = await composeFields(gpu, field, inverse);
  const steps = fromPhysical(inverse.data, inverse);
  const toField = matrixBetween(inverse, field);
  const [w, h] = inverse.size;
  const n = voxelCount(inverse);
  const inside = new Uint8Array(n);
  for (let p = 0; p < n; p++) {
    const [i, j, k] = [p % w, Math.floor(p / w) % h, Math.floor(p / (w * h))];
    const at = applyAffine(toField, [i + steps[p], j + steps[n + p], k + steps[2 * n + p]]);
    inside[p] = Number(at.every((x, axis) => x >= 0 && x <= field.size[axis] - 1)); // between voxels, not beyond the last
  }
  const [voxels, mm] = [tally(), tally()];
  voxels.count(fromPhysical(data, inverse), inside);
  mm.count(data, inside);
  return { voxels: voxels.lengths(), mm: mm.lengths() };
}

type Rule = Parameters<typeof inverse>[3];

async function invertDeformation(
  gpu: Gpu,
  field: DisplacementField,
  grid: Grid,
  rule: Rule,
  signal?: AbortSignal,
): Promise<{ field: DisplacementField; outcome: InverseOutcome }> {
  const data = new Float32Array(3 * voxelCount(grid));
  const inVoxels = tally(rule.tolerance),
    inMm = tally();
  const u = fromPhysical(field.data, { size: field.size, affine: grid.affine }); // in voxels of the inverse's grid
  for (const slab of slabs(grid)) {
    signal?.throwIfAborted();
    const { v, residual } = await invertSlab(gpu, field, u, slab.grid, rule);
    signal?.throwIfAborted();
    paste(data, toPhysical(v, slab.grid), grid, slab);
    inVoxels.count(residual);
    inMm.count(toPhysical(residual, slab.grid));
  }
  return {
    field: { ...gridOf(grid), data },
    outcome: { unsolvedPercent: inVoxels.percentBeyond(), voxels: inVoxels.lengths(), mm: inMm.lengths() },
  };
}

/** The exact GPU memory an inversion will take, without a device: that of its largest slab. */
export function planInverse(field: Grid, grid: Grid): Plan {
  return slabs(grid)
    .map((slab) => plan(traceSlab(field, slab.grid).graph))
    .reduce((a, b) => (b.peak.total > a.peak.total ? b : a));
}

/** v on one slab, and u(p + v) + v; u in voxels of the slab, on the grid of the field. */
function traceSlab(field: Grid, slab: Grid, rule: Rule = { tolerance: 0, iterations: 0 }) {
  const graph = new Graph();
  const [i, j, k] = ['i', 'j', 'k'].map((axis) => graph.input(`displacement ${axis}`, [1, 1, ...shapeOf(field)])) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const { v, residual } = graph.phase('invert', () => inverse([i, j, k], shapeOf(slab), matrixBetween(slab, field), rule));
  return { graph, u: [i, j, k], v: graph.output(v), residual: graph.output(residual) };
}

async function invertSlab(gpu: Gpu, field: Grid, data: Float32Array, slab: Grid, rule: Rule) {
  const { graph, u, v, residual } = traceSlab(field, slab, rule);
  const schedule = await Schedule.build(gpu, graph);
  try {
    for (const [component, values] of each(u, data)) schedule.upload(component, values);
    schedule.run('invert');
    return { v: await schedule.read(v), residual: await schedule.read(residual) };
  } finally {
    schedule.destroy();
  }
}

/** Gathers the lengths of vectors [3, …], of all or of those that are `inside`. */
function tally(tolerance = 0) {
  let n = 0,
    sum = 0,
    squares = 0,
    max = 0,
    beyond = 0;
  return {
    count(vectors: Float32Array, inside?: Uint8Array): void {
      const voxels = vectors.length / 3;
      for (let p = 0; p < voxels; p++) {
        if (inside && !inside[p]) continue;
        n++;
        const square = vectors[p] ** 2 + vectors[voxels + p] ** 2 + vectors[2 * voxels + p] ** 2;
        const length = Math.sqrt(square);
        sum += length;
        squares += square;
        if (!(length <= max)) max = length;
        if (!(length <= tolerance)) beyond++;
      }
    },
    lengths: (): InverseResidual => ({ mean: sum / n, rms: Math.sqrt(squares / n), max }),
    percentBeyond: (): number => (100 * beyond) / n,
  };
}

/**
 * Throws when less than a twentieth of a field's grid (sampled) is mapped to inside another grid, and that is less than a twentieth of the
 * other.
 */
export function checkReach({ size, affine, data }: DisplacementField, grid: Grid): void {
  const [w, h, d] = size,
    n = w * h * d,
    toGrid = invertAffine(grid.affine);
  const SAMPLES = 48; // so that a small other grid is met too
  const along = (extent: number) => Array.from({ length: SAMPLES }, (_, s) => Math.floor(((s + 0.5) / SAMPLES) * extent));
  let inside = 0;
  for (const k of along(d))
    for (const j of along(h))
      for (const i of along(w)) {
        const p = (k * h + j) * w + i;
        const [x, y, z] = applyAffine(affine, [i, j, k]);
        const at = applyAffine(toGrid, [x - data[p], y - data[n + p], z + data[2 * n + p]]); // LPS is RAS with x and y negated
        if (contains(grid, ...at)) inside++;
      }
  const share = inside / SAMPLES ** 3;
  const covered = (share * volume({ size, affine })) / volume(grid);
  if (Math.max(share, covered) < 0.05) {
    throw new Error(
      `the displacement leads elsewhere: ${(100 * share).toFixed(0)} % of its grid is mapped into the other grid; check the headers' affines and the order of the files, and give an inverse the moving image's grid (\`grid\`, --like)`,
    );
  }
}

/** Of a grid's voxels, mm³. */
const volume = (grid: Grid): number => voxelCount(grid) * Math.abs(determinant(grid.affine));

/** A whole field as one input, or one a component where all of it in one buffer may be more than an adapter binds. */
const components = (graph: Graph, field: Grid): Tensor[] =>
  12 * voxelCount(field) <= LEAST_BINDING
    ? [graph.input('displacement', [1, 3, ...shapeOf(field)])]
    : ['i', 'j', 'k'].map((axis) => graph.input(`displacement ${axis}`, [1, 1, ...shapeOf(field)]));

const each = (tensors: Tensor[], data: Float32Array): [Tensor, Float32Array][] => {
  const length = data.length / tensors.length;
  return tensors.map((t, n) => [t, data.subarray(n * length, (n + 1) * length)]);
};

const sample = (field: Tensor[], u: Tensor, matrix: Matrix): Tensor => {
  const parts = field.map((part) => warp(part, u, matrix));
  return parts.length === 1 ? parts[0] : concat(...parts);
};
