// The volumes of a report: turned to right-anterior-superior axes, in 8 bits, as fine as the page's size allows.
import { type Affine, type Vec3, voxelToVoxel } from '../../io/affine.ts';
import { type Axis, anatomicalAxes } from '../../io/affine.ts';
import { type Grid, sameGrid } from '../../io/volume.ts';
import type { IntensityWindow } from '../../register/intensity.ts';
import { blankBeyond } from '../../register/overlap.ts';
import type { Registration } from '../../register/register.ts';
import type { Inputs } from '../inputs.ts';
import { encode, type Pack } from './codec.ts';
import { type Layer, OUTSIDE, type Pictures } from './content.ts';

/** Characters of all layers together; the page's script and tables take some 0.1 MB more. */
const BUDGET = 5.7e6;
/** Voxels of an image above which it is coarsened without a try; of a label map, above which it is coarsened. */
const LARGEST = 12e6,
  LARGEST_OF_LABELS = 3e6;
/** Grey levels of an image: what its noise leaves to be seen, and a third less to store than 8 bits. */
const LEVELS = 95;
/** Brightest shown intensity as a share of the image's window, whose upper end is a percentile. */
const WHITE = 1.1;
/** Cells along the longest edge: the displacement is smooth, log J less so. */
const DISPLACEMENT_CELLS = 80,
  JACOBIAN_CELLS = 120;
/** log J is stored from −1.5 to 1.5 in this many steps each way. */
const LOG_RANGE = 1.5,
  LOG_STEPS = 60;

type Shown = Pick<Registration, 'displacement' | 'warped' | 'intensities'>;

/** Starts at once with all that is read from the volumes; what is awaited is compression, in threads. */
export async function pictures(
  { fixed, moving, segmentation }: Inputs,
  { displacement, warped, intensities }: Shown,
  determinants: Float32Array,
  pack: Pack,
  warpedLabels?: Float32Array,
): Promise<Pictures> {
  const view = viewOf(fixed);
  const smooth = displacementLayers(displacement, view, pack);
  const jacobian = jacobianLayer(determinants, view, pack);
  const resampled = sameGrid(fixed, moving) ? moving.data : resample(moving, fixed, NaN);
  const seen = warped.data.slice();
  blankBeyond(seen, displacement, fixed, moving, NaN);
  const maps = [segmentation?.fixed.data, warpedLabels];
  const codeOf = labelCodes(segmentation?.labels);
  const images = (factors: Vec3) =>
    Promise.all([
      imageLayer(fixed.data, intensities.fixed, view, factors, pack),
      imageLayer(resampled, intensities.moving, view, factors, pack),
      imageLayer(seen, intensities.moving, view, factors, pack),
    ]);
  const factorsOf = (largest: number) => {
    let factors: Vec3 = [1, 1, 1];
    while (fixed.data.length / product(factors) > largest) factors = coarser(factors, view.spacing);
    return factors;
  };
  const outlines = sampled(view, factorsOf(LARGEST_OF_LABELS));
  const labelling = Promise.all(maps.map((map) => map && labelLayer(map, outlines, codeOf, pack)));
  let factors = factorsOf(LARGEST);
  let layers = await images(factors);
  const { step, layers: u } = await smooth;
  const logJacobian = await jacobian;
  const labels = await labelling;
  const characters = () => [...layers, ...labels, ...u, logJacobian].reduce((sum, one) => sum + (one?.data.length ?? 0), 0);
  while (characters() > BUDGET) {
    factors = coarser(factors, view.spacing);
    layers = await images(factors);
  }
  return {
    size: view.size,
    spacing: view.spacing,
    axes: view.axes.map(({ voxel, flip }) => ({ letter: 'ijk'[voxel], flip })),
    levels: LEVELS,
    fixed: layers[0],
    moving: layers[1],
    warped: layers[2],
    fixedLabels: labels[0],
    warpedLabels: labels[1],
    logJacobian,
    logRange: LOG_RANGE,
    logSteps: LOG_STEPS,
    displacement: u,
    step,
  };
}

/** A grid seen along right, anterior, superior: the offset of its first voxel and the steps from there. */
interface View {
  size: Vec3;
  spacing: Vec3;
  axes: Axis[];
  start: number;
  strides: Vec3;
}

function viewOf({ size, affine }: Grid): View {
  const axes = anatomicalAxes(affine);
  const along = (value: (axis: Axis) => number) => axes.map(value) as Vec3;
  const stride = ({ voxel }: Axis) => [1, size[0], size[0] * size[1]][voxel];
  return {
    axes,
    size: along(({ voxel }) => size[voxel]),
    spacing: along(({ step }) => step),
    start: axes.reduce((sum, axis) => sum + (axis.flip ? (size[axis.voxel] - 1) * stride(axis) : 0), 0),
    strides: along((axis) => stride(axis) * (axis.flip ? -1 : 1)),
  };
}

const product = ([x, y, z]: Vec3) => x * y * z;

/** The finest spacing doubled, and with it those less than half as large again. */
function coarser(factors: Vec3, spacing: Vec3): Vec3 {
  const now = factors.map((factor, axis) => factor * spacing[axis]);
  return factors.map((factor, axis) => (now[axis] < 1.5 * Math.min(...now) ? 2 * factor : factor)) as Vec3;
}

/** Factors that leave about `cells` along the longest edge. */
function factorsFor({ size, spacing }: View, cells: number): Vec3 {
  const cell = Math.max(...size.map((n, axis) => n * spacing[axis])) / cells; // mm
  return spacing.map((step) => Math.max(1, Math.round(cell / step))) as Vec3;
}

/** The middle voxel of every block: for what is smooth. */
function sampled(view: View, factors: Vec3): View {
  const { size, spacing, strides } = view;
  const scaled = (values: Vec3) => values.map((value, axis) => value * factors[axis]) as Vec3;
  return {
    ...view,
    size: size.map((n, axis) => Math.max(1, Math.floor(n / factors[axis]))) as Vec3,
    spacing: scaled(spacing),
    strides: scaled(strides),
    start: factors.reduce((sum, factor, axis) => sum + Math.min(factor >> 1, size[axis] - 1) * strides[axis], view.start),
  };
}

/** A layer of block means, each turned to a byte by `code` (0 for NaN); `offset` is where the volume begins in `values`. */
async function layer(
  values: Float32Array,
  view: View,
  factors: Vec3,
  code: (mean: number) => number,
  pack: Pack,
  offset = 0,
): Promise<Layer> {
  const size = view.size.map((n, axis) => Math.ceil(n / factors[axis])) as Vec3;
  const bytes = new Uint8Array(blockMeans(values, view, factors, size, code, offset).buffer);
  const data = await pack(encode(bytes, size[0]), 'zeros');
  return { size, spacing: view.spacing.map((step, axis) => step * factors[axis]) as Vec3, data };
}

function blockMeans(
  data: Float32Array,
  { size: [W, H, D], start, strides: [sx, sy, sz] }: View,
  [fx, fy, fz]: Vec3,
  cells: Vec3,
  code: (mean: number) => number,
  offset: number,
): Uint8ClampedArray<ArrayBuffer> {
  const bytes = new Uint8ClampedArray(product(cells)),
    single = fx * fy * fz === 1;
  for (let z = 0, n = 0; z < D; z += fz)
    for (let y = 0; y < H; y += fy) {
      const row = offset + start + y * sy + z * sz,
        high = Math.min(fy, H - y),
        deep = Math.min(fz, D - z);
      if (single) for (let x = 0, at = row; x < W; x++, at += sx) bytes[n++] = code(data[at]);
      else
        for (let x = 0; x < W; x += fx) {
          const wide = Math.min(fx, W - x);
          let sum = 0;
          for (let c = 0; c < deep; c++)
            for (let b = 0; b < high; b++) for (let a = 0, at = row + x * sx + b * sy + c * sz; a < wide; a++, at += sx) sum += data[at];
          bytes[n++] = code(sum / (wide * high * deep));
        }
    }
  return bytes;
}

function imageLayer(data: Float32Array, { low, high }: IntensityWindow, view: View, factors: Vec3, pack: Pack): Promise<Layer> {
  const scale = LEVELS / (WHITE * (high - low));
  return layer(data, view, factors, (mean) => (Number.isNaN(mean) ? OUTSIDE : Math.min((mean - low) * scale, LEVELS)), pack);
}

/** Labels repeat from row to row, which is what gzip looks for. */
async function labelLayer(map: Float32Array, view: View, codeOf: (label: number) => number, pack: Pack): Promise<Layer> {
  const bytes = new Uint8Array(blockMeans(map, view, [1, 1, 1], view.size, codeOf, 0).buffer);
  return { size: view.size, spacing: view.spacing, plain: true, data: await pack(bytes, 'rows') };
}

/** A code from 1 to 255, by turns, for each label that counts, or for all but 0 as they are met; 0 for others. */
function labelCodes(counted?: readonly number[]): (label: number) => number {
  const codes = new Map(counted?.map((label, n) => [label, 1 + (n % 255)]));
  return (label) => {
    if (!counted && label !== 0 && !codes.has(label)) codes.set(label, 1 + (codes.size % 255));
    return codes.get(label) ?? 0;
  };
}

async function displacementLayers(u: Float32Array, view: View, pack: Pack): Promise<{ step: number; layers: Layer[] }> {
  const voxels = u.length / 3,
    { axes, spacing } = view;
  let largest = 0; // mm
  axes.forEach(({ voxel }, axis) => {
    for (let v = voxel * voxels; v < (voxel + 1) * voxels; v++) {
      const length = Math.abs(u[v]) * spacing[axis];
      if (length > largest) largest = length;
    }
  });
  const step = largest / 127 || 1;
  const coarse = sampled(view, factorsFor(view, DISPLACEMENT_CELLS));
  return {
    step,
    layers: await Promise.all(
      axes.map(({ voxel, flip }, axis) => {
        const scale = ((flip ? -1 : 1) * spacing[axis]) / step;
        return layer(u, coarse, [1, 1, 1], (value) => 128 + value * scale, pack, voxel * voxels);
      }),
    ),
  };
}

/** Log of the mean J of each block; a block with a voxel of J ≤ 0 is a fold (and NaN on the way). */
function jacobianLayer(determinants: Float32Array, view: View, pack: Pack): Promise<Layer> {
  return layer(
    determinants.map((determinant) => (determinant > 0 ? determinant : NaN)),
    view,
    factorsFor(view, JACOBIAN_CELLS),
    (mean) => 128 + LOG_STEPS * Math.min(Math.max(Math.log(mean) / LOG_RANGE, -1), 1),
    pack,
  );
}

/** A volume on another grid through the two affines, trilinear; `outside` beyond its own. */
function resample({ size: [W, H, D], affine, data }: Grid & { data: Float32Array }, grid: Grid, outside: number): Float32Array {
  const [a, b, c, i0, e, f, g, j0, p, q, r, k0]: Affine = voxelToVoxel(grid.affine, affine);
  const [w, h, d] = grid.size;
  const out = new Float32Array(w * h * d).fill(outside);
  const rows = W,
    slices = W * H;
  for (let z = 0, v = 0; z < d; z++)
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++, v++) {
        const i = a * x + b * y + c * z + i0,
          j = e * x + f * y + g * z + j0,
          k = p * x + q * y + r * z + k0;
        if (!(i >= -0.5 && j >= -0.5 && k >= -0.5 && i <= W - 0.5 && j <= H - 0.5 && k <= D - 0.5)) continue;
        const il = Math.max(Math.floor(i), 0),
          jl = Math.max(Math.floor(j), 0),
          kl = Math.max(Math.floor(k), 0);
        const s = Math.max(i - il, 0),
          t = Math.max(j - jl, 0),
          o = Math.max(k - kl, 0);
        const di = il < W - 1 ? 1 : 0,
          dj = jl < H - 1 ? rows : 0,
          dk = kl < D - 1 ? slices : 0;
        const at = il + jl * rows + kl * slices;
        const line = (n: number) => data[n] + s * (data[n + di] - data[n]);
        const near = line(at) + t * (line(at + dj) - line(at));
        const far = line(at + dk) + t * (line(at + dk + dj) - line(at + dk));
        out[v] = near + o * (far - near);
      }
  return out;
}
