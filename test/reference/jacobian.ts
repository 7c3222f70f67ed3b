// Spatial derivatives per voxel (central differences, one-sided at the borders) and the Jacobian determinant of p + u(p).
import { applyAlong, applyTransposeAlong, centralDifferences } from './band.ts';
import { axes, sizeOf, zeros, type NdArray, type ReferenceOp } from './ndarray.ts';

/** x [N, C, D, H, W] → [N, 3C, D, H, W], channel 3c + axis = ∂x_c/∂axis, axis in the order (w, h, d). */
export const gradient: ReferenceOp = {
  name: 'gradient',
  forward([x]) {
    const [batch, channels, ...size] = x.shape;
    const voxels = sizeOf(size);
    const out = zeros([batch, 3 * channels, ...size]);
    for (const axis of axes) {
      const derivative = applyAlong(x, axis, centralDifferences(x.shape[4 - axis])).data;
      for (let nc = 0; nc < batch * channels; nc++) {
        out.data.set(derivative.subarray(nc * voxels, (nc + 1) * voxels), (3 * nc + axis) * voxels);
      }
    }
    return out;
  },
  vjp([x], _, cotangent) {
    const [batch, channels, ...size] = x.shape;
    const voxels = sizeOf(size);
    const grad = zeros(x.shape);
    for (const axis of axes) {
      const part = zeros(x.shape);
      for (let nc = 0; nc < batch * channels; nc++) {
        part.data.set(cotangent.data.subarray((3 * nc + axis) * voxels, (3 * nc + axis + 1) * voxels), nc * voxels);
      }
      const n = x.shape[4 - axis];
      applyTransposeAlong(part, axis, centralDifferences(n), n).data.forEach((value, i) => {
        grad.data[i] += value;
      });
    }
    return [grad];
  },
};

/** I + ∇u of batch item n at voxel v: 9 numbers, row = displacement channel, column = axis of the derivative. */
function jacobianAt(derivatives: NdArray, n: number, v: number): number[] {
  const voxels = sizeOf(derivatives.shape.slice(2));
  return Array.from({ length: 9 }, (_, e) => (e % 4 === 0 ? 1 : 0) + derivatives.data[(n * 9 + e) * voxels + v]);
}

/** Signed cofactor of entry (i, j) of a row-major 3×3 matrix; cyclic indices carry the sign. */
function cofactor(m: number[], i: number, j: number): number {
  const [i1, i2, j1, j2] = [(i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3];
  return m[3 * i1 + j1] * m[3 * i2 + j2] - m[3 * i1 + j2] * m[3 * i2 + j1];
}

/** u [N, 3, D, H, W] in voxels of its own grid → det(I + ∇u) [N, 1, D, H, W]. */
export const jacobianDeterminant: ReferenceOp = {
  name: 'jacobianDeterminant',
  forward([u]) {
    const [batch, , ...size] = u.shape;
    const voxels = sizeOf(size);
    const derivatives = gradient.forward([u], {});
    const out = zeros([batch, 1, ...size]);
    for (let n = 0; n < batch; n++) {
      for (let v = 0; v < voxels; v++) {
        const m = jacobianAt(derivatives, n, v);
        out.data[n * voxels + v] = m[0] * cofactor(m, 0, 0) + m[1] * cofactor(m, 0, 1) + m[2] * cofactor(m, 0, 2);
      }
    }
    return out;
  },
  vjp([u], _, cotangent) {
    const [batch, , ...size] = u.shape;
    const voxels = sizeOf(size);
    const derivatives = gradient.forward([u], {});
    const gradDerivatives = zeros(derivatives.shape);
    for (let n = 0; n < batch; n++) {
      for (let v = 0; v < voxels; v++) {
        const m = jacobianAt(derivatives, n, v);
        for (let e = 0; e < 9; e++) {
          gradDerivatives.data[(n * 9 + e) * voxels + v] = cotangent.data[n * voxels + v] * cofactor(m, Math.floor(e / 3), e % 3);
        }
      }
    }
    return gradient.vjp([u], {}, gradDerivatives);
  },
};
