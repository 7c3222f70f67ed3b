// Which intensities count: a window of raw values that is mapped to 0…1 before images are compared.
import { scattered } from './scattered.ts';

export type Modality = 'mri' | 'ct';
export interface IntensityWindow {
  modality: Modality;
  low: number;
  high: number;
}

/** Hounsfield units from air to soft tissue and contrast: what matters in a lung or body CT. */
const CT = { low: -1024, high: 300 };
/**
 * Few images but CT go this far below zero, where air lies at −1000 HU; those that resampling or padding leaves elsewhere are fewer than
 * this share.
 */
const CT_BELOW = -500;
const CT_SHARE = 0.001;
/** Less of the CT window than this is no contrast: values that are no HU. */
const CT_RANGE = 0.05;

export const modalities = ['auto', 'mri', 'ct'] as const;

/**
 * `auto`: CT where a thousandth of the values lies below −500 (air), but for the smallest, which may be a fill. CT → HU window; MRI and
 * everything else → from the smallest value to the 99.5th percentile of those above it, without a few values, or a fill that many voxels
 * share, far below or above all others. With a mask, the window is that of the values inside it; it is CT if air is there, or in the whole
 * volume. Throws when CT is asked for and the values are no HU.
 */
export function intensityWindow(data: Float32Array, modality: Modality | 'auto' = 'auto', mask?: Float32Array): IntensityWindow {
  const values = mask ? data.filter((_, v) => mask[v] !== 0) : data;
  let low = Infinity,
    high = -Infinity;
  for (let n = 0; n < values.length; n++) {
    const v = values[n];
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (modality === 'ct' && (high <= CT.low || low >= CT.high)) {
    throw new Error(`modality ct: all values, ${low} to ${high}, lie outside its window of ${CT.low} to ${CT.high} HU; choose mri`);
  }
  if (modality === 'ct' && Math.min(high, CT.high) - Math.max(low, CT.low) < CT_RANGE * (CT.high - CT.low))
    throw new Error(
      `modality ct: all values, ${low} to ${high}, are in a small part of its window of ${CT.low} to ${CT.high} HU; choose mri`,
    );
  if (modality === 'ct' || (modality === 'auto' && looksLikeCt(data, mask))) return { modality: 'ct', ...CT };
  const ends = withoutStrays(values, low, high);
  return { modality: 'mri', low: ends.low, high: percentile(values, 0.995, ends.low, ends.high) };
}

/** What `auto` takes for CT: there is air in the whole volume, or in its mask. */
export const looksLikeCt = (data: Float32Array, mask?: Float32Array): boolean =>
  hasAir(data) || (mask !== undefined && hasAir(data.filter((_, v) => mask[v] !== 0)));

/** Do values lie as far below zero as air in CT does? */
function hasAir(data: Float32Array): boolean {
  let low = Infinity,
    lowest = 0,
    air = 0;
  for (let n = 0; n < data.length; n++) {
    const v = data[n];
    if (v < low) [low, lowest] = [v, 0];
    if (v === low) lowest++;
    if (v < CT_BELOW) air++;
  }
  if (low < CT_BELOW) air -= lowest; // one value alone is what something was padded with, not air
  return air >= CT_SHARE * data.length;
}

/** Values in a sample that tells what is far from all others, and the share of it, at either end, that may be. */
const SAMPLE = 2 ** 15;
const STRAY = 0.005;

/**
 * From where to where values count: all of them, but for the smallest where it lies further below the others' 0.5th percentile than their
 * range to the 99.5th is wide, be it a few voxels' or a fill that many share; and but for a fill so far above.
 */
function withoutStrays(values: Float32Array, low: number, high: number): { low: number; high: number } {
  const sample = Float32Array.from(scattered(values.length, SAMPLE), (v) => values[v]).sort();
  const filled = sample.filter((v) => v === high).length > STRAY * sample.length;
  const rest = sample.filter((v) => v !== low && !(filled && v === high));
  const [bottom, top] = [STRAY, 1 - STRAY].map((share) => rest[Math.floor(share * (rest.length - 1))]) as [number, number];
  const range = top - bottom;
  if (!(range > 0)) return { low, high };
  return { low: low < bottom - range ? bottom : low, high: filled && high > top + range ? top : high };
}

/**
 * Percentile (0…1) of the values above `low`, from a histogram of 65 536 bins; narrowed until the percentile is resolved to 0.4 %,
 * because a single hot voxel makes the first bins too wide.
 */
function percentile(data: Float32Array, fraction: number, low: number, high: number): number {
  const bins = new Uint32Array(65536);
  for (let top = high; ;) {
    const scale = (bins.length - 1) / (top - low);
    let count = 0,
      seen = 0,
      bin = -1;
    bins.fill(0);
    for (let n = 0; n < data.length; n++) {
      const v = data[n];
      if (v > low && v <= high) count++;
      if (v > low && v <= top) bins[Math.floor((v - low) * scale)]++;
    }
    while (seen < fraction * count && bin < bins.length - 1) seen += bins[++bin];
    const value = low + (bin + 1) / scale;
    if (bin >= 256 || value >= top) return value;
    top = value;
  }
}
