// What an augmentation draws from: its settings, presets for brain MRI and lung CT, and what is refused of settings that come from a file.
import { isObject } from '../io/json.ts';

export type Triple = readonly [number, number, number];

/** Largest values of a random affine map about the centre of the volume; each is drawn uniformly from its range. */
export interface AffineRange {
  /** Degrees about each axis, to either side. */
  rotation: number;
  /** Along each axis by a factor of 1/(1 + scale) … 1 + scale, uniform in its logarithm. */
  scale: number;
  /** mm along one axis for a mm along another, to either side. */
  shear: number;
  /** mm along each axis, to either side. */
  translation: number;
}

export interface Augmentation {
  /** `synthetic`: the moving image is made of the fixed one, and the pair's own is ignored. */
  mode: 'pair' | 'synthetic';
  /** Probability of a flip along (W, H, D); both images flip together. */
  flips: Triple;
  /** The map that both images have in common. */
  common: AffineRange;
  /** The moving image's own, before the common one. */
  moving: AffineRange;
  /** The moving image's own smooth deformation: RMS length in mm, drawn from this range, and σ in mm of the Gaussian that smooths it. */
  deformation: { rms: readonly [number, number]; sigma: number };
  /**
   * Of each image by itself, intensities being about 0…1: γ within 1/(1 + gamma) … 1 + gamma and the gain likewise, the offset to either
   * side, the standard deviation of the noise up to `noise`. γ and gain keep the background at 0.
   */
  intensity: { gamma: number; gain: number; offset: number; noise: number };
}

const still: AffineRange = { rotation: 0, scale: 0, shear: 0, translation: 0 };

/** Nothing; brain MRI; lung CT, whose intensities are calibrated. */
export const augmentations: Record<'none' | 'mri' | 'ct', Augmentation> = {
  none: {
    mode: 'pair',
    flips: [0, 0, 0],
    common: still,
    moving: still,
    deformation: { rms: [0, 0], sigma: 12 },
    intensity: { gamma: 0, gain: 0, offset: 0, noise: 0 },
  },
  mri: {
    mode: 'pair',
    flips: [0.5, 0.5, 0.5],
    common: { rotation: 10, scale: 0.1, shear: 0.05, translation: 8 },
    moving: { rotation: 2, scale: 0.02, shear: 0.01, translation: 2 },
    deformation: { rms: [0, 3], sigma: 12 },
    intensity: { gamma: 0.3, gain: 0.15, offset: 0.02, noise: 0.03 },
  },
  ct: {
    mode: 'pair',
    flips: [0.5, 0.5, 0.5],
    common: { rotation: 6, scale: 0.1, shear: 0.05, translation: 10 },
    moving: { rotation: 1, scale: 0.02, shear: 0.01, translation: 3 },
    deformation: { rms: [0, 5], sigma: 20 },
    intensity: { gamma: 0.1, gain: 0.05, offset: 0.01, noise: 0.02 },
  },
};

/**
 * Options for data sets of single images: the moving image is the fixed one under a strong deformation of an RMS length of σ/4 … σ/2.5,
 * σ a third larger than for pairs.
 */
export function synthetic(options: Augmentation): Augmentation {
  const sigma = (options.deformation.sigma * 4) / 3;
  return { ...options, mode: 'synthetic', deformation: { rms: [sigma / 4, sigma / 2.5], sigma } };
}

/** What is wrong with settings that come from a file, such as `augmentation.flips[1]: …`; nothing: they can be traced. */
export function augmentationFault(given: unknown): string | undefined {
  return formFault('augmentation', given, augmentations.none) ?? rangeFault(given as Augmentation);
}

/** Where a value lacks or has more than what a model of its form has. */
function formFault(path: string, value: unknown, model: unknown): string | undefined {
  if (Array.isArray(model)) {
    if (!Array.isArray(value) || value.length !== model.length)
      return `${path} must be a list of ${model.length}, got ${JSON.stringify(value)}`;
    return model.map((one, i) => formFault(`${path}[${i}]`, value[i], one)).find(Boolean);
  }
  if (!isObject(model))
    return typeof value === typeof model ? undefined : `${path} must be a ${typeof model}, got ${JSON.stringify(value)}`;
  if (!isObject(value)) return `${path} must be an object of ${Object.keys(model).join(', ')}, got ${JSON.stringify(value)}`;
  const odd = [
    ...Object.keys(value).filter((key) => !Object.hasOwn(model, key)),
    ...Object.keys(model).filter((key) => !Object.hasOwn(value, key)),
  ];
  if (odd.length) return `${path}: ${odd.join(', ')} unknown or missing; there are ${Object.keys(model).join(', ')}`;
  return Object.entries(model)
    .map(([key, one]) => formFault(`${path}.${key}`, value[key], one))
    .find(Boolean);
}

function rangeFault({ mode, flips, common, moving, deformation, intensity }: Augmentation): string | undefined {
  const got = (what: string, value: unknown) => `${what}, got ${JSON.stringify(value)}`;
  if (mode !== 'pair' && mode !== 'synthetic') return got('augmentation.mode must be pair or synthetic', mode);
  if (!flips.every((p) => p >= 0 && p <= 1)) return got('augmentation.flips are probabilities along W, H, D', flips);
  for (const [name, range] of Object.entries({ common, moving, intensity }))
    if (!Object.values(range).every((x) => x >= 0 && x < Infinity)) return got(`augmentation.${name}: a range is at least 0`, range);
  const [low, high] = deformation.rms;
  if (!(low >= 0 && low <= high && high < Infinity && deformation.sigma > 0 && deformation.sigma < Infinity))
    return got('augmentation.deformation needs 0 ≤ rms[0] ≤ rms[1] and sigma above 0 mm', deformation);
  return undefined;
}
