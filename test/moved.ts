// Volumes moved by a known transform and rewritten on another grid, in float64: what affine registration is tested with.
import { type Affine, applyAffine, composeAffine, invertAffine, type Vec3 } from '../src/io/affine.ts';
import type { Grid, Volume } from '../src/io/volume.ts';

/** x ↦ A·x + t, RAS mm: turns about x, y and z (degrees, in this order), then a scale, then a shift (mm). */
export function transformOf({
  turn = [0, 0, 0],
  scale = [1, 1, 1],
  shift = [0, 0, 0],
}: {
  turn?: readonly number[];
  scale?: readonly number[];
  shift?: readonly number[];
}): Affine {
  const about = (axis: number, degrees: number): Affine => {
    const [c, s] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
    const [a, b] = [(axis + 1) % 3, (axis + 2) % 3];
    const m = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
    m[5 * a] = c;
    m[4 * a + b] = -s;
    m[4 * b + a] = s;
    m[5 * b] = c;
    return m;
  };
  const scaling = [scale[0], 0, 0, shift[0], 0, scale[1], 0, shift[1], 0, 0, scale[2], shift[2]];
  const turned = turn.reduce<Affine>(
    (all, degrees, axis) => composeAffine(about(axis, degrees), all),
    [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
  );
  return composeAffine(scaling, turned);
}

/**
 * A grid of the given spacing whose axes i, j, k run along other directions of space than usual (superior, left, posterior), centred at a
 * point.
 */
export function otherGrid(size: Vec3, spacing: Vec3, centre: readonly number[] = [0, 0, 0]): Grid {
  const axes = [
    [0, 0, 1],
    [-1, 0, 0],
    [0, -1, 0],
  ];
  const linear = [0, 1, 2].map((row) => axes.map((axis, c) => axis[row] * spacing[c]));
  const affine = linear.flatMap((row, r) => [...row, centre[r] - row.reduce((sum, x, c) => sum + (x * (size[c] - 1)) / 2, 0)]);
  return { size, affine };
}

/** The volume carried along by a transform (RAS mm), on a grid: value(y) = volume(transform⁻¹ y); `outside` beyond its edge. */
export function moved(volume: Volume, transform: Affine, grid: Grid, interpolation: 'linear' | 'nearest' = 'linear', outside = 0): Volume {
  const back = composeAffine(invertAffine(volume.affine), composeAffine(invertAffine(transform), grid.affine));
  const [w, h, d] = grid.size,
    [W, H, D] = volume.size,
    data = new Float32Array(w * h * d);
  const at = (i: number, j: number, k: number) =>
    i >= 0 && j >= 0 && k >= 0 && i < W && j < H && k < D ? volume.data[(k * H + j) * W + i] : outside;
  for (let k = 0, v = 0; k < d; k++)
    for (let j = 0; j < h; j++)
      for (let i = 0; i < w; i++, v++) {
        const [x, y, z] = applyAffine(back, [i, j, k]);
        if (interpolation === 'nearest') {
          data[v] = at(Math.floor(x + 0.5), Math.floor(y + 0.5), Math.floor(z + 0.5));
          continue;
        }
        const [x0, y0, z0] = [Math.floor(x), Math.floor(y), Math.floor(z)],
          [fx, fy, fz] = [x - x0, y - y0, z - z0];
        let sum = 0;
        for (let corner = 0; corner < 8; corner++) {
          const [a, b, c] = [corner & 1, (corner >> 1) & 1, corner >> 2];
          sum += (a ? fx : 1 - fx) * (b ? fy : 1 - fy) * (c ? fz : 1 - fz) * at(x0 + a, y0 + b, z0 + c);
        }
        data[v] = sum;
      }
  return { ...grid, data, dtype: volume.dtype };
}

/** Mean distance, mm, between where two transforms take the voxels of a label map that are not 0. */
export function transformError(a: Affine, b: Affine, { size: [w, h], affine, data }: Volume): number {
  let sum = 0,
    count = 0;
  data.forEach((label, v) => {
    if (!label) return;
    const x = applyAffine(affine, [v % w, Math.floor(v / w) % h, Math.floor(v / (w * h))]);
    const [p, q] = [applyAffine(a, x), applyAffine(b, x)];
    sum += Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
    count++;
  });
  return sum / count;
}
