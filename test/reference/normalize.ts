// Instance normalisation of features [N, C, D, H, W] and weight normalisation of kernels [Co, Ci, K, K, K].
import { dot, mean, norm, sizeOf, sum, zeros, type NdArray, type ReferenceOp } from './ndarray.ts';

/** x̂ and 1/√(variance + ε) of each instance (n, c); the variance is biased. */
function normalised(x: NdArray, epsilon: number) {
  const voxels = sizeOf(x.shape.slice(2));
  return Array.from({ length: x.shape[0] * x.shape[1] }, (_, i) => {
    const values = x.data.subarray(i * voxels, (i + 1) * voxels);
    const centre = mean(values);
    const scale = 1 / Math.sqrt(mean(values.map((v) => (v - centre) ** 2)) + epsilon);
    return { c: i % x.shape[1], at: i * voxels, scale, hat: values.map((v) => (v - centre) * scale) };
  });
}

/** torch.nn.InstanceNorm3d; gamma and beta [C] may be left out. */
export const instanceNorm: ReferenceOp = {
  name: 'instanceNorm',
  forward([x, gamma, beta], { epsilon = 1e-5 }: { epsilon?: number }) {
    const y = zeros(x.shape);
    for (const { c, at, hat } of normalised(x, epsilon)) y.data.set(gamma ? hat.map((v) => v * gamma.data[c] + beta.data[c]) : hat, at);
    return y;
  },
  vjp([x, gamma], { epsilon = 1e-5 }: { epsilon?: number }, cotangent) {
    const [dx, dgamma, dbeta] = [zeros(x.shape), zeros([x.shape[1]]), zeros([x.shape[1]])];
    for (const { c, at, scale, hat } of normalised(x, epsilon)) {
      const dy = cotangent.data.subarray(at, at + hat.length);
      const [total, product] = [sum(dy), dot(dy, hat)];
      dgamma.data[c] += product;
      dbeta.data[c] += total;
      const factor = scale * (gamma ? gamma.data[c] : 1);
      dx.data.set(
        hat.map((v, i) => factor * (dy[i] - (total + v * product) / hat.length)),
        at,
      );
    }
    return gamma ? [dx, dgamma, dbeta] : [dx];
  },
};

/** g·v/‖v‖ for each output channel (torch.nn.utils.weight_norm, dim=0). */
export const weightNorm: ReferenceOp = {
  name: 'weightNorm',
  forward([v, g]) {
    const w = zeros(v.shape),
      size = v.data.length / v.shape[0];
    g.data.forEach((factor, o) => {
      const row = v.data.subarray(o * size, (o + 1) * size);
      w.data.set(
        row.map((value) => (factor * value) / norm(row)),
        o * size,
      );
    });
    return w;
  },
  vjp([v, g], _, cotangent) {
    const [dv, dg] = [zeros(v.shape), zeros(g.shape)],
      size = v.data.length / v.shape[0];
    g.data.forEach((factor, o) => {
      const row = v.data.subarray(o * size, (o + 1) * size),
        dw = cotangent.data.subarray(o * size, (o + 1) * size);
      const [length, product] = [norm(row), dot(row, dw)];
      dg.data[o] = product / length;
      dv.data.set(
        row.map((value, i) => (factor / length) * (dw[i] - (value * product) / length ** 2)),
        o * size,
      );
    });
    return [dv, dg];
  },
};
