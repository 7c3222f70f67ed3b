// elastix' transform parameter files: from their text, and as a displacement at every voxel of the fixed grid.
// A chain's first transform meets the fixed point first: x ↦ Tn(… T1(x)), all in LPS mm.
import { fromPhysical } from '../../src/io/displacement.ts';
import { type Grid, voxelCount } from '../../src/io/volume.ts';
import { applyAffine } from '../../src/io/affine.ts';

/** The values of each key, as text. */
export type Parameters = Record<string, readonly string[]>;
type Point = [number, number, number];

/** A parameter file's lines (Key value value …). */
export function parseParameters(text: string): Parameters {
  const found: Parameters = {};
  for (const line of text.split(/\r?\n/)) {
    const [, key, values] = /^\s*\((\S+)\s+(.*?)\s*\)\s*(?:\/\/.*)?$/.exec(line) ?? [];
    if (key) found[key] = (values.match(/"[^"]*"|\S+/g) ?? []).map((value) => value.replace(/^"|"$/g, ''));
  }
  return found;
}

/** The displacement [3, D, H, W] in voxels of the fixed grid that a chain of affine and cubic B-spline transforms makes. */
export function fieldOf(chain: readonly Parameters[], fixed: Grid): Float32Array {
  const maps = chain.map(mapOf);
  const n = voxelCount(fixed),
    [w, h, d] = fixed.size;
  const shift = new Float32Array(3 * n);
  for (let k = 0, p = 0; k < d; k++)
    for (let j = 0; j < h; j++)
      for (let i = 0; i < w; i++, p++) {
        const [x, y, z] = applyAffine(fixed.affine, [i, j, k]);
        const from: Point = [-x, -y, z]; // LPS is RAS with x and y negated
        const to = maps.reduce((point, map) => map(point), from);
        for (let axis = 0; axis < 3; axis++) shift[axis * n + p] = to[axis] - from[axis];
      }
  return fromPhysical(shift, fixed);
}

function mapOf(parameters: Parameters): (point: Point) => Point {
  const [name] = parameters.Transform ?? [];
  const numbers = (key: string, length?: number): number[] => {
    const values = (parameters[key] ?? []).map(Number);
    if (!values.length || (length && values.length !== length) || !values.every(Number.isFinite))
      throw new Error(`${name}: ${key}: ${length ?? 'some'} numbers are needed, got ${parameters[key]?.slice(0, 12).join(' ')}`);
    return values;
  };
  if (name === 'AffineTransform') {
    const m = numbers('TransformParameters', 12),
      [a, b, c] = numbers('CenterOfRotationPoint', 3) as Point;
    return ([x, y, z]) =>
      [0, 1, 2].map(
        (row) => m[3 * row] * (x - a) + m[3 * row + 1] * (y - b) + m[3 * row + 2] * (z - c) + [a, b, c][row] + m[9 + row],
      ) as Point;
  }
  if (name !== 'BSplineTransform') throw new Error(`elastix transform ${name}: only AffineTransform and BSplineTransform are known`);
  const order = Number(parameters.BSplineTransformSplineOrder?.[0] ?? 3);
  if (order !== 3) throw new Error(`BSplineTransform of order ${order}: only cubic ones are known`);
  const [gw, gh, gd] = numbers('GridSize', 3) as Point,
    coefficients = Float64Array.from(numbers('TransformParameters', 3 * gw * gh * gd));
  const origin = numbers('GridOrigin', 3),
    spacing = numbers('GridSpacing', 3),
    direction = numbers('GridDirection', 9); // column by column
  return (point) => {
    const away = point.map((x, axis) => x - origin[axis]);
    // the directions are orthonormal, so that their transpose takes mm to steps of the grid
    const at = [0, 1, 2].map((axis) => [0, 1, 2].reduce((sum, row) => sum + direction[3 * axis + row] * away[row], 0) / spacing[axis]);
    const first = at.map((x) => Math.floor(x) - 1);
    if (first.some((f, axis) => f < 0 || f + 3 >= [gw, gh, gd][axis])) return point; // ITK moves nothing beyond the control points
    const [wx, wy, wz] = at.map((x) => cubic(x - Math.floor(x))) as [number[], number[], number[]];
    const size = gw * gh * gd;
    let [x, y, z] = point;
    for (let c = 0; c < 4; c++)
      for (let b = 0; b < 4; b++) {
        const row = ((first[2] + c) * gh + first[1] + b) * gw + first[0],
          weight = wz[c] * wy[b];
        for (let a = 0; a < 4; a++) {
          const share = weight * wx[a];
          x += share * coefficients[row + a];
          y += share * coefficients[size + row + a];
          z += share * coefficients[2 * size + row + a];
        }
      }
    return [x, y, z];
  };
}

/** The four cubic B-splines that reach a point t between two knots. */
const cubic = (t: number): number[] => [
  (1 - t) ** 3 / 6,
  (3 * t ** 3 - 6 * t ** 2 + 4) / 6,
  (-3 * t ** 3 + 3 * t ** 2 + 3 * t + 1) / 6,
  t ** 3 / 6,
];
