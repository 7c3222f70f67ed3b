// Large grids cut along k and handled piece by piece, so that a field of three components fits the bindings of every adapter.
import { composeAffine } from '../io/affine.ts';
import type { Grid } from '../io/volume.ts';

/** Slices `from` … `to` − 1 of a grid, as a grid of their own. */
export interface Slab {
  from: number;
  to: number;
  grid: Grid;
}

/** Voxels of a slab at most: a field of 96 MiB, and with a few slices more still within WebGPU's 128 MiB a binding. */
const SLAB_VOXELS = 2 ** 23;

/** A grid cut along k into as few, nearly equal slabs as the limit allows. */
export function slabs({ size: [w, h, d], affine }: Grid): Slab[] {
  const depth = Math.max(1, Math.min(d, Math.floor(SLAB_VOXELS / (w * h))));
  const count = Math.ceil(d / depth);
  return Array.from({ length: count }, (_, n) =>
    slabOf({ size: [w, h, d], affine }, Math.floor((n * d) / count), Math.floor(((n + 1) * d) / count)),
  );
}

export const slabOf = ({ size: [w, h], affine }: Grid, from: number, to: number): Slab => ({
  from,
  to,
  grid: { size: [w, h, to - from], affine: composeAffine(affine, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, from]) },
});

/** The slab's part of channels of a whole grid, [channels, to − from, H, W]. */
export function cut(data: Float32Array, { size: [w, h, d] }: Grid, { from, to }: Slab): Float32Array {
  const slice = w * h,
    channels = data.length / (slice * d);
  const part = new Float32Array(channels * slice * (to - from));
  for (let c = 0; c < channels; c++) part.set(data.subarray((c * d + from) * slice, (c * d + to) * slice), c * slice * (to - from));
  return part;
}

/** Puts a slab's channels in their place in a whole grid. */
export function paste(whole: Float32Array, part: Float32Array, { size: [w, h, d] }: Grid, { from, to }: Slab): void {
  const slice = w * h,
    channels = whole.length / (slice * d);
  for (let c = 0; c < channels; c++)
    whole.set(part.subarray(c * slice * (to - from), (c + 1) * slice * (to - from)), (c * d + from) * slice);
}
