// Separable linear filters: resize, gaussian, windowSum. Every VJP is the transposed map.
import { applySeparable, applySeparableTranspose, normalised, windowBand, type Band } from './band.ts';
import { axes, type NdArray, type ReferenceOp } from './ndarray.ts';

function separable(name: string, bands: (shape: number[], attrs: any) => Band[]): ReferenceOp {
  return {
    name,
    forward: ([x], attrs) => applySeparable(x, bands(x.shape, attrs)),
    vjp: ([x], attrs, cotangent) => [applySeparableTranspose(cotangent, bands(x.shape, attrs), x.shape)],
  };
}

/** Linear interpolation at the output voxel's centre where the axis grows, the mean over the output voxel's extent where it shrinks. */
function resizeBand(n: number, size: number): Band {
  const step = n / size;
  return normalised(
    Array.from({ length: size }, (_, o) => {
      const centre = (o + 0.5) * step;
      const shrink = (i: number) => Math.max(0, Math.min(i + 1, (o + 1) * step) - Math.max(i, o * step));
      const grow = (i: number) => Math.max(0, 1 - Math.abs(i + 0.5 - centre));
      const first = Math.max(0, Math.floor(centre - Math.max(step, 1) - 0.5));
      const last = Math.min(n - 1, Math.ceil(centre + Math.max(step, 1) - 0.5));
      return { first, weights: Array.from({ length: last - first + 1 }, (_, k) => (step > 1 ? shrink : grow)(first + k)) };
    }),
  );
}

/** size is [D, H, W], over the same field of view: interpolate(align_corners=False) where it grows, avg_pool where it shrinks. */
export const resize = separable('resize', (shape, { size }: { size: number[] }) =>
  axes.map((axis) => resizeBand(shape[4 - axis], size[2 - axis])),
);

function gaussianBand(n: number, sigma: number): Band {
  if (sigma === 0) return windowBand(n, 0, () => 1);
  return normalised(windowBand(n, Math.ceil(3 * sigma), (k) => Math.exp(-(k * k) / (2 * sigma * sigma))));
}

/** sigma (w, h, d) in voxels, radius ⌈3σ⌉, normalised over the voxels inside the volume; σ = 0 leaves an axis as it is. */
export const gaussian = separable('gaussian', (shape, { sigma }: { sigma: number[] }) =>
  axes.map((axis) => gaussianBand(shape[4 - axis], sigma[axis])),
);

/** Box weights of 1; window is an odd number of voxels, or one a spatial axis (w, h, d). */
export function windowBands(shape: number[], window: number | number[]): Band[] {
  return axes.map((axis) => {
    const width = typeof window === 'number' ? window : window[axis];
    if (width % 2 !== 1) throw new Error(`window: ${width} voxels on axis ${axis}; pass an odd number`);
    return windowBand(shape[4 - axis], (width - 1) / 2, () => 1);
  });
}

/** Sum over the window around each voxel, zero outside the volume. Self-adjoint. */
export const windowSum = separable('windowSum', (shape, { window }: { window: number | number[] }) => windowBands(shape, window));

/** Mean over the voxels of the window that lie inside the volume (count_include_pad=False). */
export function windowMean(window: number | number[]): { apply(x: NdArray): NdArray; transpose(y: NdArray): NdArray } {
  const bands = (x: NdArray) => windowBands(x.shape, window).map(normalised);
  return { apply: (x) => applySeparable(x, bands(x)), transpose: (y) => applySeparableTranspose(y, bands(y), y.shape) };
}
