// Rigid and affine transforms as the affine stage climbs them: about a centre, by small steps, from starts that moments propose.
import { applyAffine, determinant, type Affine, type Vec3 } from '../io/affine.ts';
import { type Matrix3, type Moments, multiply, rows, transpose } from './moments.ts';

/** x ↦ A(x − c) + c + t in RAS mm, c the fixed image's centre of mass. */
export interface Transform {
  linear: Matrix3;
  shift: Vec3;
}

const I3: Matrix3 = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];
/** Leaves everything where the headers put it. */
export const rest: Transform = { linear: I3, shift: [0, 0, 0] };
export const times = (a: Matrix3, x: readonly number[]): Vec3 => a.map((row) => row[0] * x[0] + row[1] * x[1] + row[2] * x[2]) as Vec3;

export function toAffine({ linear, shift }: Transform, c: Vec3): Affine {
  const moved = times(linear, c);
  return linear.flatMap((row, i) => [...row, c[i] + shift[i] - moved[i]]);
}

export const fromAffine = (matrix: Affine, c: Vec3): Transform => ({
  linear: rows(matrix),
  shift: applyAffine(matrix, c).map((x, i) => x - c[i]) as Vec3,
});

/** exp of the cross product matrix of a rotation vector (Rodrigues). */
function rotation(v: readonly number[]): Matrix3 {
  const angle = Math.hypot(...v);
  if (angle === 0) return I3;
  const [x, y, z] = v.map((c) => c / angle) as [number, number, number];
  const [c, s] = [Math.cos(angle), Math.sin(angle)],
    k = 1 - c;
  return [
    [c + x * x * k, x * y * k - z * s, x * z * k + y * s],
    [y * x * k + z * s, c + y * y * k, y * z * k - x * s],
    [z * x * k - y * s, z * y * k + x * s, c + z * z * k],
  ];
}

/** The steps of a kind of transform: a parameter of 1 moves the object's surface by about 1 mm. */
export function movesOf(kind: 'rigid' | 'affine', radius: number) {
  const move = ({ linear, shift }: Transform, step: number[]): Transform => ({
    shift: shift.map((s, i) => s + step[i]) as Vec3,
    linear:
      kind === 'rigid'
        ? multiply(rotation(step.slice(3).map((x) => x / radius)), linear)
        : (linear.map((row, i) => row.map((x, j) => x + step[3 + 3 * i + j] / radius)) as unknown as Matrix3),
  });
  /** Gradient for the step's parameters, from that for A (3×3) and t. */
  const pull = ({ linear }: Transform, dLinear: Matrix3, dShift: Vec3): number[] => {
    if (kind === 'affine') return [...dShift, ...dLinear.flatMap((row) => row.map((x) => x / radius))];
    const torque = multiply(dLinear, transpose(linear)); // ⟨dA, [e]× A⟩ = ⟨dA Aᵀ, [e]×⟩
    return [
      ...dShift,
      (torque[2][1] - torque[1][2]) / radius,
      (torque[0][2] - torque[2][0]) / radius,
      (torque[1][0] - torque[0][1]) / radius,
    ];
  };
  return { move, pull };
}

/** A volume does not become so many times larger, or smaller. */
const MOST_GROWTH = 5;
/** Neither mirrored nor grown or shrunk beyond what bodies differ by. */
export function plausible({ linear: [a, b, c] }: Transform): boolean {
  const growth = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
  return growth > 1 / MOST_GROWTH && growth < MOST_GROWTH;
}

/** Starts by moments: the centres brought together, alone and with the four proper ways to lay the principal axes on each other. */
export function startsFrom(c: Vec3, fixed: Moments, moving: Moments): Transform[] {
  const turns = [
    [1, 1, 1],
    [1, -1, -1],
    [-1, 1, -1],
    [-1, -1, 1],
  ].map((signs) => multiply(transpose(moving.axes), fixed.axes.map((axis, i) => axis.map((x) => signs[i] * x)) as unknown as Matrix3));
  return [I3, ...turns].map((linear) => {
    const offset = times(
      linear,
      c.map((x, i) => x - fixed.centre[i]),
    ); // of c from the fixed centre, which goes to the moving one
    return { linear, shift: moving.centre.map((x, i) => x + offset[i] - c[i]) as Vec3 };
  });
}

/** Mean distance over points spread like the object: ±radius along each axis about its centre. */
export function motionOf(transform: Transform, { centre: c, radius }: Moments): number {
  const matrix = toAffine(transform, c);
  const points = [0, 1, 2].flatMap((axis) => [-1, 1].map((sign) => c.map((x, i) => x + (i === axis ? sign * radius : 0))));
  return points.reduce((sum, p) => sum + Math.hypot(...applyAffine(matrix, p).map((x, i) => x - p[i])), 0) / points.length;
}

/** By how much a transform turns, degrees: the angle of the rotation that its linear part is, but for a scale and small shears. */
export function turnOf(matrix: Affine): number {
  const scale = Math.cbrt(determinant(matrix));
  return (Math.acos(Math.max(-1, Math.min(1, ((matrix[0] + matrix[5] + matrix[10]) / scale - 1) / 2))) * 180) / Math.PI;
}
