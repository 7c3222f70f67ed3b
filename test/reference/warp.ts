// Pull-back warp of an image by a displacement in voxels of the output grid, optionally through an affine map to image voxels.
import { axes, sizeOf, zeros, type NdArray, type ReferenceOp } from './ndarray.ts';

/** Row-major 3×4, output voxel (w, h, d) → image voxel (w, h, d). */
export interface WarpAttrs {
  matrix?: number[];
}

const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];

/** Image position (w, h, d) of output voxel v (flat over D, H, W) of batch item n: M · (p + u(p)). */
export function samplePosition(u: NdArray, n: number, v: number, { matrix: m = identity }: WarpAttrs): number[] {
  const [, , d, h, w] = u.shape;
  const voxels = d * h * w;
  const p = [v % w, Math.floor(v / w) % h, Math.floor(v / (w * h))];
  const q = axes.map((axis) => p[axis] + u.data[(n * 3 + axis) * voxels + v]);
  return axes.map((axis) => m[4 * axis] * q[0] + m[4 * axis + 1] * q[1] + m[4 * axis + 2] * q[2] + m[4 * axis + 3]);
}

/** Where a coordinate falls on an axis of n voxels: clamped to [0, n − 1]; it has no derivative on or beyond either end. */
function cell(x: number, n: number): { low: number; fraction: number; moves: boolean } {
  const clamped = Math.min(Math.max(x, 0), n - 1);
  const low = Math.max(0, Math.min(Math.floor(clamped), n - 2));
  return { low, fraction: clamped - low, moves: x > 0 && x < n - 1 };
}

/** The eight neighbours of a position: flat index in the volume, trilinear weight, derivative of the weight by the position. */
function corners(position: number[], [, , d, h, w]: number[]): { index: number; weight: number; slope: number[] }[] {
  const sizes = [w, h, d];
  const cells = axes.map((axis) => cell(position[axis], sizes[axis]));
  return Array.from({ length: 8 }, (_, bits) => {
    const upper = axes.map((axis) => (bits >> axis) & 1);
    const [i, j, k] = axes.map((axis) => Math.min(cells[axis].low + upper[axis], sizes[axis] - 1));
    const f = axes.map((axis) => (upper[axis] ? cells[axis].fraction : 1 - cells[axis].fraction));
    const df = axes.map((axis) => (cells[axis].moves ? (upper[axis] ? 1 : -1) : 0));
    return {
      index: (k * h + j) * w + i,
      weight: f[0] * f[1] * f[2],
      slope: [df[0] * f[1] * f[2], f[0] * df[1] * f[2], f[0] * f[1] * df[2]],
    };
  });
}

/** image [N, C, Di, Hi, Wi], u [N, 3, D, H, W] → [N, C, D, H, W]; trilinear, border clamped. */
export const warp: ReferenceOp = {
  name: 'warp',
  forward([image, u], attrs: WarpAttrs) {
    const [batch, channels, ...size] = image.shape;
    const inside = sizeOf(size);
    const voxels = sizeOf(u.shape.slice(2));
    const out = zeros([batch, channels, ...u.shape.slice(2)]);
    for (let n = 0; n < batch; n++) {
      for (let v = 0; v < voxels; v++) {
        for (const { index, weight } of corners(samplePosition(u, n, v, attrs), image.shape)) {
          for (let c = n * channels; c < (n + 1) * channels; c++) out.data[c * voxels + v] += weight * image.data[c * inside + index];
        }
      }
    }
    return out;
  },
  vjp([image, u], attrs: WarpAttrs, cotangent) {
    const [batch, channels, ...size] = image.shape;
    const inside = sizeOf(size);
    const voxels = sizeOf(u.shape.slice(2));
    const m = attrs.matrix ?? identity;
    const gradImage = zeros(image.shape);
    const gradU = zeros(u.shape);
    for (let n = 0; n < batch; n++) {
      for (let v = 0; v < voxels; v++) {
        const gradPosition = [0, 0, 0];
        for (const { index, weight, slope } of corners(samplePosition(u, n, v, attrs), image.shape)) {
          for (let c = n * channels; c < (n + 1) * channels; c++) {
            const g = cotangent.data[c * voxels + v];
            gradImage.data[c * inside + index] += weight * g;
            for (const axis of axes) gradPosition[axis] += slope[axis] * image.data[c * inside + index] * g;
          }
        }
        const [gx, gy, gz] = gradPosition;
        for (const axis of axes) gradU.data[(n * 3 + axis) * voxels + v] = m[axis] * gx + m[4 + axis] * gy + m[8 + axis] * gz;
      }
    }
    return [gradImage, gradU];
  },
};

/** The same sampling with the nearest voxel, floor(x + 0.5), clamped: for labels. Not differentiable. */
export const warpNearest: ReferenceOp = {
  name: 'warpNearest',
  forward([image, u], attrs: WarpAttrs) {
    const [batch, channels, d, h, w] = image.shape;
    const inside = d * h * w;
    const voxels = sizeOf(u.shape.slice(2));
    const out = zeros([batch, channels, ...u.shape.slice(2)]);
    const nearest = (x: number, n: number) => Math.min(Math.max(Math.floor(x + 0.5), 0), n - 1);
    for (let n = 0; n < batch; n++) {
      for (let v = 0; v < voxels; v++) {
        const [x, y, z] = samplePosition(u, n, v, attrs);
        const index = (nearest(z, d) * h + nearest(y, h)) * w + nearest(x, w);
        for (let c = n * channels; c < (n + 1) * channels; c++) out.data[c * voxels + v] = image.data[c * inside + index];
      }
    }
    return out;
  },
  vjp: () => [null, null],
};

/**
 * image [N, Di, Hi, Wi, 4] (a value and three slopes along w, h, d), u [N, 3, D, H, W] → [N, 4, D, H, W]: all four sampled, the slopes
 * faded to 0 within one voxel beyond the image and turned by Mᵀ. The image is a constant.
 */
export const warpWithGradient: ReferenceOp = {
  name: 'warpWithGradient',
  forward: ([image, u], attrs: WarpAttrs) => sampled(image, u, attrs).out,
  vjp: ([image, u], attrs: WarpAttrs, cotangent) => [null, sampled(image, u, attrs, cotangent).gradU],
};

function sampled(image: NdArray, u: NdArray, attrs: WarpAttrs, cotangent?: NdArray) {
  const [batch, d, h, w] = image.shape;
  const sizes = [w, h, d];
  const inside = d * h * w;
  const voxels = sizeOf(u.shape.slice(2));
  const m = attrs.matrix ?? identity;
  const out = zeros([batch, 4, ...u.shape.slice(2)]);
  const gradU = zeros(u.shape);
  for (let n = 0; n < batch; n++) {
    for (let v = 0; v < voxels; v++) {
      const position = samplePosition(u, n, v, attrs);
      const beyond = axes.map((axis) => position[axis] - Math.min(Math.max(position[axis], 0), sizes[axis] - 1));
      const fade = beyond.map((x) => Math.max(0, 1 - Math.abs(x)));
      const fadeSlope = beyond.map((x, axis) => (fade[axis] > 0 ? -Math.sign(x) : 0));
      const values = [0, 0, 0, 0];
      const slopes = axes.map(() => [0, 0, 0, 0]); // slopes[axis][channel]
      for (const { index, weight, slope } of corners(position, [batch, 4, d, h, w])) {
        for (let c = 0; c < 4; c++) {
          const value = image.data[(n * inside + index) * 4 + c];
          values[c] += weight * value;
          for (const axis of axes) slopes[axis][c] += slope[axis] * value;
        }
      }
      const at = (c: number) => (n * 4 + c) * voxels + v;
      out.data[at(0)] = values[0];
      for (const axis of axes) for (const row of axes) out.data[at(1 + axis)] += m[4 * row + axis] * fade[row] * values[1 + row];
      if (!cotangent) continue;
      const bar = axes.map((row) => axes.reduce<number>((sum, axis) => sum + m[4 * row + axis] * cotangent.data[at(1 + axis)], 0));
      const gradPosition = axes.map(
        (axis) =>
          cotangent.data[at(0)] * slopes[axis][0] +
          axes.reduce<number>((sum, row) => sum + bar[row] * fade[row] * slopes[axis][1 + row], 0) +
          bar[axis] * fadeSlope[axis] * values[1 + axis],
      );
      for (const axis of axes)
        gradU.data[(n * 3 + axis) * voxels + v] = axes.reduce<number>((sum, row) => sum + m[4 * row + axis] * gradPosition[row], 0);
    }
  }
  return { out, gradU };
}
