// Layers decoded, and the slices cut from them. Positions are in mm from the lower (left, posterior, inferior) corner of the fixed grid.
import type { Vec3 } from '../../io/affine.ts';
import { decode, unpack } from './codec.ts';
import { type Layer, OUTSIDE, type Pictures } from './content.ts';

export interface Plane {
  name: string;
  /** Axes: 0 right, 1 anterior, 2 superior. */
  across: number;
  up: number;
  through: number;
  /** Letters at the left, right, bottom and top edge. */
  letters: [string, string, string, string];
}

export const planes: Plane[] = [
  { name: 'Axial', across: 0, up: 1, through: 2, letters: ['L', 'R', 'P', 'A'] },
  { name: 'Coronal', across: 0, up: 2, through: 1, letters: ['L', 'R', 'I', 'S'] },
  { name: 'Sagittal', across: 1, up: 2, through: 0, letters: ['P', 'A', 'I', 'S'] },
];

export interface Cells {
  size: Vec3;
  spacing: Vec3;
  codes: Uint8Array;
}

export interface Volumes {
  fixed: Cells;
  moving: Cells;
  warped: Cells;
  fixedLabels?: Cells;
  warpedLabels?: Cells;
  logJacobian: Cells;
  displacement: Cells[];
}

export async function decodeAll({ fixed, moving, warped, logJacobian, displacement, ...maps }: Pictures): Promise<Volumes> {
  const optional = (layer: Layer | undefined) => layer && decodeLayer(layer);
  const [f, m, w, j, ...u] = await Promise.all([fixed, moving, warped, logJacobian, ...displacement].map(decodeLayer));
  const [fixedLabels, warpedLabels] = await Promise.all([optional(maps.fixedLabels), optional(maps.warpedLabels)]);
  return { fixed: f, moving: m, warped: w, fixedLabels, warpedLabels, logJacobian: j, displacement: u };
}

async function decodeLayer({ size, spacing, plain, data }: Layer): Promise<Cells> {
  const bytes = await unpack(data);
  return { size, spacing, codes: plain ? bytes : decode(bytes, size[0]) };
}

/** A slice, its upper row first, and its extent in mm from the lower corner. */
export interface Slice {
  width: number;
  height: number;
  codes: Uint8Array;
  mm: [number, number];
}

export function cut({ size, spacing, codes }: Cells, { across, up, through }: Plane, at: number): Slice {
  const strides = [1, size[0], size[0] * size[1]];
  const width = size[across],
    height = size[up];
  const start = Math.min(Math.floor(at / spacing[through]), size[through] - 1) * strides[through];
  const out = new Uint8Array(width * height);
  for (let y = 0, n = 0; y < height; y++) {
    for (let x = 0, from = start + (height - 1 - y) * strides[up]; x < width; x++, n++, from += strides[across]) out[n] = codes[from];
  }
  return { width, height, codes: out, mm: [width * spacing[across], height * spacing[up]] };
}

/** The box in mm, on each axis, of all cells above a tenth of the window in any of the images, and a margin. */
export function foreground(images: Cells[], levels: number): [number, number][] {
  const box = [0, 1, 2].map((axis): [number, number] => [images[0].size[axis], -1]);
  const { size, spacing } = images[0];
  const lit = (n: number) => images.some(({ codes }) => codes[n] > levels / 10 && codes[n] !== OUTSIDE);
  for (let z = 0, n = 0; z < size[2]; z++)
    for (let y = 0; y < size[1]; y++)
      for (let x = 0; x < size[0]; x++, n++) {
        if (!lit(n)) continue;
        [x, y, z].forEach((cell, axis) => {
          if (cell < box[axis][0]) box[axis][0] = cell;
          if (cell > box[axis][1]) box[axis][1] = cell;
        });
      }
  const margin = 0.03 * Math.max(...size.map((n, axis) => n * spacing[axis]));
  return box.map(([low, high], axis) =>
    high < low
      ? [0, size[axis] * spacing[axis]]
      : [Math.max(0, low * spacing[axis] - margin), Math.min(size[axis] * spacing[axis], (high + 1) * spacing[axis] + margin)],
  );
}
