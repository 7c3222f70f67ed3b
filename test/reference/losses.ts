// Similarity and regularity measures, each a scalar of shape [1]. Batch items and channels are averaged with the voxels.
import { applyAlong, applyTransposeAlong, forwardDifferences } from './band.ts';
import { sumChannels } from './channels.ts';
import { windowMean } from './filters.ts';
import { axes, dot, map, mean, ndarray, scalar, zeros, type NdArray, type ReferenceOp } from './ndarray.ts';
import { mul } from './pointwise.ts';

interface LnccAttrs {
  window: number | number[];
  epsilon: number;
}

const centred = (x: NdArray) => {
  const shift = mean(x.data);
  return map(x, (value) => value - shift);
};

/** Window means, variances and covariance of two centred images [N, 1, D, H, W]: on raw ones E[x²] − E[x]² loses the variance. */
function localMoments(a: NdArray, b: NdArray, window: number | number[]) {
  const local = windowMean(window).apply;
  const [ma, mb] = [local(a).data, local(b).data];
  return {
    ma,
    mb,
    va: map(local(map(a, (x) => x * x)), (x, i) => Math.max(0, x - ma[i] * ma[i])).data,
    vb: map(local(map(b, (x) => x * x)), (x, i) => Math.max(0, x - mb[i] * mb[i])).data,
    c: map(local(map(a, (x, i) => x * b.data[i])), (x, i) => x - ma[i] * mb[i]).data,
  };
}

/** Mean over voxels of c² / (va·vb + ε); local means over the voxels of the window inside the volume. */
export const lncc: ReferenceOp = {
  name: 'lncc',
  forward([a, b], { window, epsilon }: LnccAttrs) {
    const { va, vb, c } = localMoments(centred(a), centred(b), window);
    return scalar(mean(c.map((x, i) => (x * x) / (va[i] * vb[i] + epsilon))));
  },
  vjp([rawA, rawB], { window, epsilon }: LnccAttrs, cotangent) {
    const [a, b] = [centred(rawA), centred(rawB)];
    const { ma, mb, va, vb, c } = localMoments(a, b, window);
    const spread = windowMean(window).transpose;
    const each = cotangent.data[0] / a.data.length;
    const like = (f: (i: number) => number) => map(a, (_, i) => f(i));
    const q = (i: number) => va[i] * vb[i] + epsilon;
    const gradC = (i: number) => (2 * each * c[i]) / q(i);
    const gradVa = (i: number) => (va[i] > 0 ? (-each * c[i] * c[i] * vb[i]) / q(i) ** 2 : 0);
    const gradVb = (i: number) => (vb[i] > 0 ? (-each * c[i] * c[i] * va[i]) / q(i) ** 2 : 0);
    // c = E[ab] − E[a]E[b] and va = E[a²] − E[a]², so both give a part that is multiplied by a voxel's own value and one that is not.
    const cross = spread(like(gradC)).data;
    const [ownA, ownB] = [spread(like(gradVa)).data, spread(like(gradVb)).data];
    const restA = spread(like((i) => gradC(i) * mb[i] + 2 * gradVa(i) * ma[i])).data;
    const restB = spread(like((i) => gradC(i) * ma[i] + 2 * gradVb(i) * mb[i])).data;
    return [
      map(a, (x, i) => b.data[i] * cross[i] + 2 * x * ownA[i] - restA[i]),
      map(b, (x, i) => a.data[i] * cross[i] + 2 * x * ownB[i] - restB[i]),
    ];
  },
};

/** As in kernels/lib/lncc.wgsl. */
const FLAT = 1e-8;

/** Per window: h, what is left of a's centre voxel after the regression on b, the centre's deviation beta of b, and g = 2c/q · h. */
function centreForce(a: NdArray, b: NdArray, { window, epsilon }: LnccAttrs) {
  const moments = localMoments(a, b, window);
  const { ma, mb, va, vb, c } = moments;
  const q = c.map((_, i) => va[i] * vb[i] + epsilon);
  const beta = b.data.map((x, i) => x - mb[i]);
  const h = a.data.map((x, i) => x - ma[i] - (c[i] / (vb[i] + FLAT)) * beta[i]);
  return { ...moments, q, beta, h, g: map(a, (_, i) => ((2 * c[i]) / q[i]) * h[i]) };
}

const times = (x: NdArray, y: NdArray) => mul.forward([x, y], {});

/**
 * a, b, weight [N, 1, D, H, W], gradient [N, 3, D, H, W] → weight · g · gradient: the derivative of the LNCC of each window by its own
 * centre voxel of b, times the image gradient. a is a constant.
 */
export const lnccForce: ReferenceOp = {
  name: 'lnccForce',
  forward([a, b, gradient, weight], attrs: LnccAttrs) {
    const { g } = centreForce(centred(a), centred(b), attrs);
    return times(weight ? times(g, weight) : g, gradient);
  },
  vjp([rawA, rawB, gradient, weight], attrs: LnccAttrs, cotangent) {
    const [a, b] = [centred(rawA), centred(rawB)];
    const { ma, mb, va, vb, c, q, beta, h, g } = centreForce(a, b, attrs);
    const inner = sumChannels.forward([times(cotangent, gradient)], {});
    const gradG = (weight ? times(inner, weight) : inner).data;
    const f = vb.map((x) => x + FLAT);
    const gradC = gradG.map((x, v) => x * ((2 / q[v]) * h[v] - ((2 * c[v]) / q[v]) * (beta[v] / f[v])));
    const gradVb = gradG.map((x, v) => x * ((2 * c[v]) / q[v]) * ((c[v] * beta[v]) / f[v] ** 2 - (va[v] * h[v]) / q[v]));
    const gradBeta = gradG.map((x, v) => (-x * ((2 * c[v]) / q[v]) * c[v]) / f[v]);
    const spread = (values: Float64Array) => windowMean(attrs.window).transpose(ndarray(a.shape, values)).data;
    const [cross, own] = [spread(gradC), spread(gradVb)];
    const rest = spread(gradC.map((x, v) => x * ma[v] + 2 * gradVb[v] * mb[v] + gradBeta[v]));
    return [
      null,
      map(b, (x, v) => a.data[v] * cross[v] + 2 * x * own[v] - rest[v] + gradBeta[v]),
      times(weight ? times(g, weight) : g, cotangent),
      ...(weight ? [times(inner, g)] : []),
    ];
  },
};

/** cov(a, b) / √(va·vb + ε) over all entries (biased moments). */
export const ncc: ReferenceOp = {
  name: 'ncc',
  forward([a, b], { epsilon }: { epsilon: number }) {
    const [x, y] = [centred(a).data, centred(b).data];
    const n = x.length;
    return scalar(dot(x, y) / n / Math.sqrt((dot(x, x) / n) * (dot(y, y) / n) + epsilon));
  },
  vjp([a, b], { epsilon }: { epsilon: number }, cotangent) {
    const [x, y] = [centred(a), centred(b)];
    const n = x.data.length;
    const [va, vb, c] = [dot(x.data, x.data) / n, dot(y.data, y.data) / n, dot(x.data, y.data) / n];
    const q = va * vb + epsilon;
    const each = cotangent.data[0] / n;
    // ∂c/∂a = y/n and ∂va/∂a = 2x/n: the centring drops out because Σx = Σy = 0.
    return [
      map(x, (value, i) => each * (y.data[i] / Math.sqrt(q) - (c * vb * value) / q ** 1.5)),
      map(y, (value, i) => each * (x.data[i] / Math.sqrt(q) - (c * va * value) / q ** 1.5)),
    ];
  },
};

/** Mean squared difference. */
export const mse: ReferenceOp = {
  name: 'mse',
  forward: ([a, b]) => scalar(mean(a.data.map((x, i) => (x - b.data[i]) ** 2))),
  vjp([a, b], _, cotangent) {
    const factor = (2 * cotangent.data[0]) / a.data.length;
    return [map(a, (x, i) => factor * (x - b.data[i])), map(b, (y, i) => factor * (y - a.data[i]))];
  },
};

/**
 * u [N, C, D, H, W], weights (w, h, d): Σ over axes of weights[axis] · mean (u[i + 1] − u[i])², the mean over that axis' own differences;
 * an axis of one voxel adds 0.
 */
export const diffusion: ReferenceOp = {
  name: 'diffusion',
  forward([u], { weights = [1, 1, 1] }: { weights?: number[] }) {
    let total = 0;
    for (const axis of axes) {
      const n = u.shape[4 - axis];
      if (n > 1) total += weights[axis] * mean(applyAlong(u, axis, forwardDifferences(n)).data.map((x) => x * x));
    }
    return scalar(total);
  },
  vjp([u], { weights = [1, 1, 1] }: { weights?: number[] }, cotangent) {
    const grad = zeros(u.shape);
    for (const axis of axes) {
      const n = u.shape[4 - axis];
      if (n === 1) continue;
      const differences = applyAlong(u, axis, forwardDifferences(n));
      const factor = (2 * weights[axis] * cotangent.data[0]) / differences.data.length;
      const part = applyTransposeAlong(differences, axis, forwardDifferences(n), n);
      part.data.forEach((x, i) => {
        grad.data[i] += factor * x;
      });
    }
    return [grad];
  },
};
