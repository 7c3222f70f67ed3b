// What a registration is given, validated before the GPU is touched. Every error begins with the file's name.
import { type Affine, voxelToVoxel } from '../io/affine.ts';
import type { Landmarks } from '../io/landmarks.ts';
import {
  checkFinite,
  checkNotConstant,
  furthest,
  type Grid,
  insideOf,
  type MaskedVolume,
  sameGrid,
  smallest,
  type Volume,
} from '../io/volume.ts';
import type { AffineMode } from '../register/affine.ts';
import { presentLabels, tre } from '../register/metrics.ts';
import { checkOverlap, placed } from '../register/overlap.ts';

/** Where the inputs come from: paths, or a browser's names of files. */
export interface InputPaths {
  fixed: string;
  moving: string;
  fixedMask?: string;
  movingMask?: string;
  fixedSeg?: string;
  movingSeg?: string;
  landmarks?: string;
  initial?: string;
}

/** What they hold. */
export interface Contents {
  fixed: Volume;
  moving: Volume;
  fixedMask?: Volume;
  movingMask?: Volume;
  fixedSeg?: Volume;
  movingSeg?: Volume;
  landmarks?: Landmarks;
  initial?: Affine;
}

/** Label maps on the grids of their images, and the labels that count. */
interface Segmentation {
  fixed: Volume;
  moving: Volume;
  labels: number[];
}

export interface Inputs {
  paths: InputPaths;
  fixed: Volume & MaskedVolume;
  moving: Volume & MaskedVolume;
  segmentation?: Segmentation;
  /** Labels on the moving grid that are to be warped, with or without others to compare them with. */
  movingLabels?: Volume;
  landmarks?: Landmarks;
  /** Where the alignment starts, RAS mm. */
  initial?: Affine;
  /** What the images' files leave open about where their voxels are, and wanted labels that do not count. */
  warnings: string[];
}

/** Checks what was read, one thing against the other. `labels` are the wanted ones; without them, all but 0 that are in both maps count. */
export function checkInputs(
  paths: InputPaths,
  { fixed, moving, fixedMask, movingMask, fixedSeg, movingSeg, landmarks, initial }: Contents,
  labels?: readonly number[],
  affine: AffineMode = 'auto',
): Inputs {
  const warnings: string[] = [];
  for (const [path, volume] of [
    [paths.fixed, fixed],
    [paths.moving, moving],
  ] as const) {
    warnings.push(...doubts([[path, volume]]), ...withoutNaN(path, volume));
    checkNotConstant(path, volume);
  }
  if (affine === 'auto' || affine === 'none')
    withPrefix([paths.fixed, paths.moving, ...(initial ? [paths.initial] : [])].join(', '), () =>
      checkOverlap(fixed, placed(moving, initial)),
    );
  const inputs: Inputs = { paths, fixed, moving, landmarks, initial, warnings };
  if (fixedMask) inputs.fixed = { ...fixed, mask: maskOf(paths.fixedMask!, fixedMask, paths.fixed, fixed) };
  if (movingMask) inputs.moving = { ...moving, mask: maskOf(paths.movingMask!, movingMask, paths.moving, moving) };
  for (const [path, volume] of [
    [paths.fixed, inputs.fixed],
    [paths.moving, inputs.moving],
  ] as const)
    if (volume.mask) checkNotConstant(path, volume);
  if (movingSeg) {
    checkLabels(paths.movingSeg!, movingSeg, paths.moving, moving);
    inputs.movingLabels = movingSeg;
  }
  if (fixedSeg && movingSeg) {
    checkLabels(paths.fixedSeg!, fixedSeg, paths.fixed, fixed);
    const common = withPrefix(`${paths.fixedSeg}, ${paths.movingSeg}`, () => presentLabels(fixedSeg.data, movingSeg.data, labels));
    inputs.segmentation = { fixed: fixedSeg, moving: movingSeg, labels: common };
    warnings.push(...uncounted(paths, inputs.segmentation, labels));
  }
  if (landmarks) {
    withPrefix(paths.landmarks!, () => tre(landmarks, null, fixed.size, voxelToVoxel(fixed.affine, moving.affine), moving));
  }
  return inputs;
}

/**
 * Replaces NaN, which some programs store as background, by the smallest value, and returns a warning if there was any. Throws if values
 * are infinite or all are NaN.
 */
export function withoutNaN(path: string, volume: { data: Float32Array }): string[] {
  const { data } = volume;
  let count = 0;
  for (let v = 0; v < data.length; v++) if (Number.isNaN(data[v])) count++;
  const told: string[] = [];
  if (count && count < data.length) {
    const background = smallest(data);
    data.forEach((value, v) => Number.isNaN(value) && (data[v] = background));
    told.push(`${path}: ${count} of ${data.length} voxels are NaN; they count as background, ${background}`);
  }
  checkFinite(path, volume);
  return told;
}

/** Which of the wanted labels do not count, by default all but 0, and which map lacks them: a line, or none. */
function uncounted({ fixedSeg, movingSeg }: InputPaths, { fixed, moving, labels }: Segmentation, wanted?: readonly number[]): string[] {
  const all = wanted ?? [...new Set([...new Set(fixed.data), ...new Set(moving.data)])].filter(Boolean).sort((a, b) => a - b);
  const missing = all.filter((label) => !labels.includes(label));
  const [inFixed, inMoving] = [fixed, moving].map(({ data }) => missing.filter((label) => data.includes(label)));
  const inNeither = missing.filter((label) => ![...inFixed, ...inMoving].includes(label));
  const told = Object.entries({ 'in neither map': inNeither, 'only in the fixed map': inFixed, 'only in the moving map': inMoving })
    .filter(([, some]) => some.length)
    .map(([place, some]) => `${some.join(', ')} ${place}`);
  return told.length ? [`${fixedSeg}, ${movingSeg}: labels that do not count: ${told.join('; ')}`] : [];
}

/** What files leave open about where their voxels are, a line each. */
export const doubts = (files: readonly (readonly [path: string, content: { doubt?: string }])[]): string[] =>
  files.flatMap(([path, { doubt }]) => (doubt ? [`${path}: ${doubt}`] : []));

/** Tells them on stderr. */
export const warn = (lines: readonly string[]): void => lines.forEach((line) => console.error(`deqreg: warning: ${line}`));

/** 1 where the mask is above 0, else 0. */
export function maskOf(path: string, mask: Volume, imagePath: string, image: Grid): Float32Array {
  checkGrid(path, mask, imagePath, image);
  return insideOf(path, mask.data);
}

export function checkLabels(path: string, map: Volume, imagePath: string, image: Grid): void {
  checkGrid(path, map, imagePath, image);
  checkWhole(path, map);
}

/** Are all values whole, but for rounding errors? */
export const isLabelMap = ({ data }: Volume): boolean => data.every((value) => Math.abs(value - Math.round(value)) <= ROUNDING);

/**
 * Throws on values that are no labels, or that were not told apart when they were read: volumes hold float32. Labels that were stored with
 * a rounding error become whole.
 */
export function checkWhole(path: string, { data }: Volume): void {
  let odd = -1;
  for (let v = 0; v < data.length && odd < 0; v++) {
    const whole = Math.round(data[v]);
    if (Math.abs(data[v] - whole) <= ROUNDING && Math.abs(whole) < EXACT) data[v] = whole;
    else odd = v;
  }
  if (odd < 0) return;
  const value = data[odd];
  throw new Error(
    Number.isInteger(value)
      ? `${path}: voxel ${odd} has the label ${value}; labels of ${EXACT} and more cannot be told apart in float32: give them smaller numbers in both maps`
      : `${path}: not a label map: voxel ${odd} has the value ${value}, labels are whole numbers`,
  );
}
/** From here on float32 has no longer every whole number. */
const EXACT = 2 ** 24;
const ROUNDING = 1e-3;

function checkGrid(path: string, map: Volume, imagePath: string, image: Grid): void {
  if (map.size.some((n, axis) => n !== image.size[axis])) {
    throw new Error(`${path}: ${map.size.join('×')} voxels, but its image ${imagePath} has ${image.size.join('×')}`);
  }
  if (!sameGrid(map, image))
    throw new Error(
      `${path}: its affine puts voxels up to ${furthest(map, image).toPrecision(3)} mm from where its image ${imagePath} has them; ` +
        'where the voxels correspond, copy the header of the image (sform and qform), else resample it onto the image, by nearest neighbour',
    );
}

/** Puts the file's name in front of what is thrown. */
export function withPrefix<T>(path: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message.replace(/^(tre|labels): /, '')}`);
  }
}
