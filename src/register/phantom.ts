// Synthetic image pairs with a known answer: what quickstarts, tests and benchmarks run on when there is no data.
//
// The anatomy is a function M of continuous position. The moving image samples M at its voxels; the fixed image samples M at p + u(p),
// so that moving(p + u(p)) = fixed(p) holds by construction, without interpolation. Each image then gets its own bias, gain and noise.

import type { Affine, Vec3 } from '../io/affine.ts';
import type { Landmarks } from '../io/landmarks.ts';
import type { Volume } from '../io/volume.ts';
import { brainAnatomy } from './phantom-brain.ts';
import { lungAnatomy } from './phantom-lung.ts';
import type { Anatomy } from './phantom-shapes.ts';
import { normalDraw, seededRandom } from '../ops/random.ts';

/** A pair of images on one grid, their labels, corresponding landmarks in voxels, and the true displacement. */
export interface Phantom {
  fixed: Volume;
  moving: Volume;
  fixedSeg: Volume;
  movingSeg: Volume;
  landmarks: Landmarks;
  /** [3, D, H, W] in voxels, pull-back: moving(p + u(p)) = fixed(p). */
  displacement: Float32Array;
}

type Random = () => number;
type Size = Readonly<Vec3>;

interface Recipe {
  /** mm along i, j, k. */
  fieldOfView: Vec3;
  /** RAS directions of i, j and k. */
  axes: [Vec3, Vec3, Vec3];
  anatomy: (random: Random, voxel: number) => Anatomy;
  dtype: Volume['dtype'];
  range: [number, number];
  /** Standard deviation of the noise, amplitude of the bias, gains of fixed and moving, least intensity of a landmark's voxel. */
  noise: number;
  bias: number;
  gains: [number, number];
  landmarksFrom: number;
}

const kinds = {
  brain: {
    fieldOfView: [160, 192, 224],
    axes: [
      [-1, 0, 0],
      [0, 0, -1],
      [0, 1, 0],
    ], // left, inferior, anterior
    anatomy: brainAnatomy,
    dtype: 'uint8',
    range: [0, 255],
    noise: 3.5,
    bias: 0.035,
    gains: [1, 0.94],
    landmarksFrom: 0,
  },
  lung: {
    fieldOfView: [160, 224, 320],
    axes: [
      [-1, 0, 0],
      [0, -1, 0],
      [0, 0, 1],
    ], // left, posterior, superior
    anatomy: lungAnatomy,
    dtype: 'int16',
    range: [-1024, 3071],
    noise: 18,
    bias: 0,
    gains: [1, 1],
    landmarksFrom: -300,
  },
} satisfies Record<string, Recipe>;

/** Peak of the displacement as a share of the field of view; waves per component; largest wave number, in radians from middle to edge. */
const peak = 0.055,
  waves = 6,
  fastest = 4.5;
const landmarkCount = 48;

/**
 * A synthetic pair, the same for the same arguments. The displacement peaks at 5.5 % of the field of view and is a diffeomorphism.
 * `brain`: skull-stripped T1-like, 0 to 255, 160×192×224 mm, FreeSurfer labels; `lung`: one right lung in HU, 160×224×320 mm, lobes 1
 * (upper), 2 (middle) and 3 (lower), landmarks on vessels. The voxel is the field of view over the size (brain 80×96×112: 2 mm).
 * @param size voxels along (W, H, D) = (i, j, k), at least 16 each
 */
export function phantom(kind: 'brain' | 'lung', size: Size, seed: number): Phantom {
  if (!(kind in kinds)) throw new Error(`phantom: unknown kind ${kind}; pass brain or lung`);
  if (size.some((n) => !Number.isInteger(n) || n < 16)) {
    throw new Error(`phantom: size ${size.join('×')}; pass at least 16 voxels along each axis`);
  }
  const recipe: Recipe = kinds[kind];
  const { fieldOfView, axes, dtype, gains } = recipe;
  const random = seededRandom(seed);
  const spacing = size.map((n, axis) => fieldOfView[axis] / n) as Vec3;
  const affine = centredAffine(axes, spacing, size);
  const anatomy = recipe.anatomy(random, Math.cbrt(spacing[0] * spacing[1] * spacing[2]));
  const displacement = smoothDisplacement(random, size);
  const [fixed, fixedSeg] = image(recipe, anatomy, random, size, spacing, gains[0], displacement);
  const [moving, movingSeg] = image(recipe, anatomy, random, size, spacing, gains[1]);
  const isLandmark = (v: number) => fixedSeg[v] > 0 && fixed[v] >= recipe.landmarksFrom;
  const volume = (data: Float32Array, type: Volume['dtype']): Volume => ({ size: [...size], affine, data, dtype: type });
  return {
    fixed: volume(fixed, dtype),
    moving: volume(moving, dtype),
    fixedSeg: volume(fixedSeg, 'uint8'),
    movingSeg: volume(movingSeg, 'uint8'),
    landmarks: placeLandmarks(random, size, displacement, isLandmark),
    displacement,
  };
}

/** Intensities and labels of the anatomy at p or, with a displacement, at p + u(p). */
function image(
  { noise, bias, range: [low, high] }: Recipe,
  anatomy: Anatomy,
  random: Random,
  size: Size,
  spacing: Vec3,
  gain: number,
  u?: Float32Array,
): [Float32Array, Float32Array] {
  const [W, H, D] = size,
    n = W * H * D;
  const values = new Float32Array(n),
    labels = new Float32Array(n);
  const tilt = [0, 1, 2].map(() => 2 * Math.PI * random());
  for (let d = 0, v = 0; d < D; d++)
    for (let h = 0; h < H; h++) {
      const along = Math.sin((3 * d) / D + tilt[2]) + Math.sin((3 * h) / H + tilt[1]);
      for (let w = 0; w < W; w++, v++) {
        const i = u ? w + u[v] : w,
          j = u ? h + u[v + n] : h,
          k = u ? d + u[v + 2 * n] : d;
        anatomy.at((i - (W - 1) / 2) * spacing[0], (j - (H - 1) / 2) * spacing[1], (k - (D - 1) / 2) * spacing[2]);
        labels[v] = anatomy.label;
        if (anatomy.value === low) {
          values[v] = low; // empty background has no noise
          continue;
        }
        const shade = gain * (1 + bias * (along + Math.sin((3 * w) / W + tilt[0])));
        values[v] = Math.min(Math.max(Math.round(anatomy.value * shade + noise * normalDraw(random)), low), high);
      }
    }
  return [values, labels];
}

/** Sum of slow plane waves under a window that vanishes at the border, scaled to the peak; [3, D, H, W] in voxels. */
function smoothDisplacement(random: Random, size: Size): Float32Array {
  const [W, H, D] = size,
    n = W * H * D;
  const u = new Float32Array(3 * n);
  const position = (index: number, count: number) => (2 * index + 1) / count - 1; // −1 to 1 across the field of view
  const window = (x: number) => 1 - x ** 4;
  const across = Float64Array.from({ length: W }, (_, w) => window(position(w, W)));
  for (let c = 0; c < 3; c++)
    for (let wave = 0; wave < waves; wave++) {
      const amplitude = normalDraw(random) * size[c],
        phase = 2 * Math.PI * random();
      const [kx, ky, kz] = [0, 1, 2].map(() => fastest * (2 * random() - 1));
      const sines = across.map((share, w) => share * Math.sin(kx * position(w, W)));
      const cosines = across.map((share, w) => share * Math.cos(kx * position(w, W)));
      for (let d = 0, v = c * n; d < D; d++)
        for (let h = 0; h < H; h++) {
          const y = position(h, H),
            z = position(d, D);
          const share = amplitude * window(y) * window(z),
            angle = ky * y + kz * z + phase;
          const s = share * Math.sin(angle),
            t = share * Math.cos(angle);
          for (let w = 0; w < W; w++, v++) u[v] += sines[w] * t + cosines[w] * s;
        }
    }
  let largest = 0; // squared share of the field of view
  for (let v = 0; v < n; v++) largest = Math.max(largest, (u[v] / W) ** 2 + (u[v + n] / H) ** 2 + (u[v + 2 * n] / D) ** 2);
  const scale = peak / Math.sqrt(largest);
  for (let v = 0; v < 3 * n; v++) u[v] *= scale;
  return u;
}

/** Voxels spread over the accepted ones (each the farthest, of some random ones, from those before), and where u takes them. */
function placeLandmarks(random: Random, [W, H, D]: Size, u: Float32Array, accept: (voxel: number) => boolean): Landmarks {
  const n = W * H * D;
  const accepted = Array.from({ length: n }, (_, v) => v).filter(accept);
  const fixed: number[] = [],
    moving: number[] = [];
  for (let count = 0; count < Math.min(landmarkCount, accepted.length); count++) {
    let best = [0, 0, 0],
      bestVoxel = 0,
      farthest = -1;
    for (let candidate = 0; candidate < 12; candidate++) {
      const v = accepted[Math.floor(random() * accepted.length)];
      const p = [v % W, Math.floor(v / W) % H, Math.floor(v / (W * H))];
      let distance = Infinity;
      for (let m = 0; m < fixed.length; m += 3) {
        distance = Math.min(distance, Math.hypot(p[0] - fixed[m], p[1] - fixed[m + 1], p[2] - fixed[m + 2]));
      }
      if (distance > farthest) [best, bestVoxel, farthest] = [p, v, distance];
    }
    fixed.push(...best);
    moving.push(...best.map((x, c) => x + u[bestVoxel + c * n]));
  }
  return { fixed: Float64Array.from(fixed), moving: Float64Array.from(moving) };
}

/** Voxel → RAS mm, the middle of the grid at the origin; `axes` are the RAS directions of i, j and k. */
function centredAffine(axes: readonly (readonly number[])[], spacing: Vec3, size: Size): Affine {
  return [0, 1, 2]
    .flatMap((row) => {
      const steps = axes.map((axis, c) => axis[row] * spacing[c]);
      return [...steps, -steps.reduce((sum, step, c) => sum + (step * (size[c] - 1)) / 2, 0)];
    })
    .map((x) => x + 0); // no −0
}
