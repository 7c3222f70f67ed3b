import { encode } from 'fast-png';
import { anatomicalAxes, type Axis, type Vec3 } from './affine.ts';
import type { Grid } from './volume.ts';

/** Pixels of the longest edge of a panel's slices. */
const LONGEST = 256;
const GAP = 4;

/** An 8-bit grey PNG of `width`×`height` pixels, the top row first. */
export function grayPng(width: number, height: number, data: Uint8Array): Uint8Array {
  return encode({ width, height, data, channels: 1, depth: 8 });
}

export interface PanelRow extends Grid {
  data: Float32Array; // [D, H, W]
  window: [number, number]; // intensities shown black and white
  at?: Vec3; // voxel that the slices go through; the middle by default
}

/**
 * One grey PNG: a row for each volume, with its sagittal, coronal and axial slice side by side. Superior is up (anterior, in the axial
 * plane), right and anterior are to the right. All slices have one scale in mm, and are enlarged linearly.
 */
export function slicePanel(rows: readonly PanelRow[]): Uint8Array {
  const volumes = rows.map((row) => ({ ...row, axes: anatomicalAxes(row.affine) }));
  const extents = [0, 1, 2].map((axis) => Math.max(...volumes.map(({ axes, size }) => axes[axis].step * size[axes[axis].voxel])));
  const pixel = Math.max(...extents) / LONGEST; // mm
  const [x, y, z] = extents.map((mm) => Math.max(1, Math.round(mm / pixel)));
  const planes = [
    { across: 1, up: 2, width: y, height: z },
    { across: 0, up: 2, width: x, height: z },
    { across: 0, up: 1, width: x, height: y },
  ];
  const rowHeight = Math.max(y, z) + GAP;
  const width = y + x + x + 2 * GAP;
  const height = rows.length * rowHeight - GAP;
  const out = new Uint8Array(width * height);
  volumes.forEach((volume, r) => {
    let left = 0;
    for (const plane of planes) {
      drawSlice(out, width, left, r * rowHeight + ((rowHeight - GAP - plane.height) >> 1), volume, plane, pixel);
      left += plane.width + GAP;
    }
  });
  return grayPng(width, height, out);
}

interface Plane {
  across: number; // anatomical axis to the right
  up: number;
  width: number;
  height: number;
}

function drawSlice(
  out: Uint8Array,
  stride: number,
  left: number,
  top: number,
  volume: PanelRow & { axes: Axis[] },
  plane: Plane,
  pixel: number,
): void {
  const {
    size,
    axes,
    data,
    window: [black, white],
    at = size.map((n) => n >> 1),
  } = volume;
  const strides = [1, size[0], size[0] * size[1]];
  const through = axes[3 - plane.across - plane.up].voxel;
  const start = at[through] * strides[through];
  /** Voxel offsets and weight of the two neighbours of each pixel along one image axis; the volume's centre is the slice's. */
  const samples = (pixels: number, { voxel, step, flip }: Axis) =>
    Array.from({ length: pixels }, (_, n) => {
      const centre = (size[voxel] - 1) / 2;
      const at = centre + (((n - (pixels - 1) / 2) * pixel) / step) * (flip ? -1 : 1);
      const inside = at > -0.5 && at < size[voxel] - 0.5;
      const low = Math.min(Math.max(Math.floor(at), 0), size[voxel] - 1);
      const high = Math.min(low + 1, size[voxel] - 1);
      return { inside, low: low * strides[voxel], high: high * strides[voxel], weight: Math.min(Math.max(at - low, 0), 1) };
    });
  const columns = samples(plane.width, axes[plane.across]);
  const lines = samples(plane.height, axes[plane.up]).reverse();
  lines.forEach((line, y) =>
    columns.forEach((column, x) => {
      if (!line.inside || !column.inside) return;
      const mix = (offset: number) =>
        data[start + offset + column.low] * (1 - column.weight) + data[start + offset + column.high] * column.weight;
      const value = mix(line.low) * (1 - line.weight) + mix(line.high) * line.weight;
      out[(top + y) * stride + left + x] = Math.min(Math.max((255 * (value - black)) / (white - black || 1), 0), 255);
    }),
  );
}
