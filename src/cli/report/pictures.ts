// The volumes of a report: turned to right-anterior-superior axes, in 8 bits, as fine as the page's size allows.
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import { type Affine, type Vec3, voxelToVoxel } from '../../io/affine.ts';
import { type Axis, anatomicalAxes } from '../../io/png.ts';
import { type Grid, sameGrid, type Volume } from '../../io/volume.ts';
import type { IntensityWindow } from '../../register/intensity.ts';
import { visitDeterminants } from '../../register/metrics.ts';
import type { Registration } from '../../register/register.ts';
import type { Inputs } from '../inputs.ts';
import { encode } from './codec.ts';
import type { Layer, Pictures } from './content.ts';

/** Characters of all layers together; the page's script and tables take some 0.1 MB more. */
const BUDGET = 5.7e6;
/** Voxels of an image above which it is coarsened without a try. */
const LARGEST = 12e6;
const LEVELS = 127;
/** Cells along the longest edge: the displacement is smooth, log J less so. */
const DISPLACEMENT_CELLS = 80, JACOBIAN_CELLS = 120;
const LOG_RANGE = 1;

/** Starts at once with all that is read from the volumes; what is awaited is compression, in threads. */
export async function pictures({ fixed, moving }: Inputs, { displacement, warped, intensities }: Registration): Promise<Pictures> {
  const view = viewOf(fixed);
  const smooth = displacementLayers(displacement, view);
  const jacobian = jacobianLayer(displacement, fixed, view);
  const resampled = sameGrid(fixed, moving) ? moving.data : resample(moving, fixed, intensities.moving.low);
  const images = (factors: Vec3) => Promise.all([
    imageLayer(fixed.data, intensities.fixed, view, factors),
    imageLayer(resampled, intensities.moving, view, factors),
    imageLayer(warped.data, intensities.moving, view, factors),
  ]);
  let factors: Vec3 = [1, 1, 1];
  while (fixed.data.length / product(factors) > LARGEST) factors = coarser(factors, view.spacing);
  let layers = await images(factors);
  const { step, layers: u } = await smooth;
  const logJacobian = await jacobian;
  const characters = (some: Layer[]) => some.reduce((sum, { data }) => sum + data.length, 0);
  while (characters([...layers, ...u, logJacobian]) > BUDGET) {
    factors = coarser(factors, view.spacing);
    layers = await images(factors);
  }
  return {
    size: view.size, spacing: view.spacing, axes: view.axes.map(({ voxel, flip }) => ({ letter: 'ijk'[voxel], flip })), levels: LEVELS,
    fixed: layers[0], moving: layers[1], warped: layers[2], logJacobian, logRange: LOG_RANGE, displacement: u, step,
  };
}

/** A grid seen along right, anterior, superior: the offset of its first voxel and the steps from there. */
interface View { size: Vec3; spacing: Vec3; axes: Axis[]; start: number; strides: Vec3 }

function viewOf({ size, affine }: Grid): View {
  const axes = anatomicalAxes(affine);
  const along = (value: (axis: Axis) => number) => axes.map(value) as Vec3;
  const stride = ({ voxel }: Axis) => [1, size[0], size[0] * size[1]][voxel];
  return {
    axes, size: along(({ voxel }) => size[voxel]), spacing: along(({ step }) => step),
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

/** A layer of block means, each turned to a byte by `code`; `offset` is where the volume begins in `data`. */
async function layer(data: Float32Array, { size, spacing, start, strides }: View, factors: Vec3, code: (mean: number) => number, offset = 0): Promise<Layer> {
  const cells = size.map((n, axis) => Math.ceil(n / factors[axis])) as Vec3;
  const bytes = new Uint8Array(product(cells));
  const [fx, fy, fz] = factors, [sx, sy, sz] = strides;
  let n = 0;
  for (let z = 0; z < size[2]; z += fz) for (let y = 0; y < size[1]; y += fy) for (let x = 0; x < size[0]; x += fx) {
    const ex = Math.min(x + fx, size[0]), ey = Math.min(y + fy, size[1]), ez = Math.min(z + fz, size[2]);
    let sum = 0;
    for (let c = z; c < ez; c++) for (let b = y; b < ey; b++) for (let a = x; a < ex; a++) sum += data[offset + start + a * sx + b * sy + c * sz];
    bytes[n++] = code(sum / ((ex - x) * (ey - y) * (ez - z)));
  }
  // runs of zeros are all the repetition that is left
  const packed = await promisify<Uint8Array, object, Buffer>(gzip)(encode(bytes, cells[0]), { level: 6, strategy: constants.Z_RLE });
  return { size: cells, spacing: spacing.map((step, axis) => step * factors[axis]) as Vec3, data: packed.toString('base64') };
}

const imageLayer = (data: Float32Array, { low, high }: IntensityWindow, view: View, factors: Vec3) =>
  layer(data, view, factors, (mean) => Math.round(LEVELS * Math.min(Math.max((mean - low) / (high - low), 0), 1)));

async function displacementLayers(u: Float32Array, view: View): Promise<{ step: number; layers: Layer[] }> {
  const voxels = u.length / 3, { axes, spacing } = view;
  let largest = 0; // mm
  axes.forEach(({ voxel }, axis) => {
    for (let v = voxel * voxels; v < (voxel + 1) * voxels; v++) largest = Math.max(largest, Math.abs(u[v]) * spacing[axis]);
  });
  const step = largest / 127 || 1;
  const factors = factorsFor(view, DISPLACEMENT_CELLS);
  return { step, layers: await Promise.all(axes.map(({ voxel, flip }, axis) => {
    const scale = (flip ? -1 : 1) * spacing[axis] / step;
    return layer(u, view, factors, (mean) => 128 + Math.round(mean * scale), voxel * voxels);
  })) };
}

/** Mean log J of each block; a block with a voxel of J ≤ 0 is a fold (the NaN of its logarithm). */
function jacobianLayer(u: Float32Array, { size }: Grid, view: View): Promise<Layer> {
  const logs = new Float32Array(u.length / 3);
  visitDeterminants(u, size, (v, determinant) => { logs[v] = determinant > 0 ? Math.log(determinant) : NaN; });
  return layer(logs, view, factorsFor(view, JACOBIAN_CELLS),
    (mean) => (Number.isNaN(mean) ? 0 : 128 + Math.round(127 * Math.min(Math.max(mean / LOG_RANGE, -1), 1))));
}

/** A volume on another grid through the two affines, trilinear; `outside` beyond its own. */
function resample({ size: [W, H, D], affine, data }: Volume, grid: Grid, outside: number): Float32Array {
  const [a, b, c, i0, e, f, g, j0, p, q, r, k0]: Affine = voxelToVoxel(grid.affine, affine);
  const [w, h, d] = grid.size;
  const out = new Float32Array(w * h * d).fill(outside);
  const rows = W, slices = W * H;
  for (let z = 0, v = 0; z < d; z++) for (let y = 0; y < h; y++) for (let x = 0; x < w; x++, v++) {
    const i = a * x + b * y + c * z + i0, j = e * x + f * y + g * z + j0, k = p * x + q * y + r * z + k0;
    if (!(i >= -0.5 && j >= -0.5 && k >= -0.5 && i <= W - 0.5 && j <= H - 0.5 && k <= D - 0.5)) continue;
    const il = Math.max(Math.floor(i), 0), jl = Math.max(Math.floor(j), 0), kl = Math.max(Math.floor(k), 0);
    const s = Math.max(i - il, 0), t = Math.max(j - jl, 0), o = Math.max(k - kl, 0);
    const di = il < W - 1 ? 1 : 0, dj = jl < H - 1 ? rows : 0, dk = kl < D - 1 ? slices : 0;
    const at = il + jl * rows + kl * slices;
    const line = (n: number) => data[n] + s * (data[n + di] - data[n]);
    const near = line(at) + t * (line(at + dj) - line(at));
    const far = line(at + dk) + t * (line(at + dk + dj) - line(at + dk));
    out[v] = near + o * (far - near);
  }
  return out;
}
