// Which intensities count: a window of raw values that is mapped to 0…1 before images are compared.

export type Modality = 'mri' | 'ct';
export interface IntensityWindow { modality: Modality; low: number; high: number }

/** Hounsfield units from air to soft tissue and contrast: what matters in a lung or body CT. */
const CT = { low: -1024, high: 300 };
/** No MRI, microscopy or normalised image goes this far below zero; air in CT lies at −1000 HU. */
const CT_BELOW = -500;

/** CT by its values (air far below zero) → HU window; everything else → from the smallest value to the 99.5th percentile of those above it. */
export function intensityWindow(data: Float32Array): IntensityWindow {
  let low = Infinity, high = -Infinity;
  for (const v of data) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (low < CT_BELOW) return { modality: 'ct', ...CT };
  return { modality: 'mri', low, high: percentile(data, 0.995, low, high) };
}

/** Percentile (0…1) of the values above `low`, from a histogram of 65 536 bins. */
function percentile(data: Float32Array, fraction: number, low: number, high: number): number {
  const bins = new Uint32Array(65536);
  const scale = (bins.length - 1) / (high - low);
  let count = 0;
  for (const v of data) {
    if (v > low) {
      bins[Math.floor((v - low) * scale)]!++;
      count++;
    }
  }
  let seen = 0;
  for (let bin = 0; bin < bins.length; bin++) {
    seen += bins[bin]!;
    if (seen >= fraction * count) return low + (bin + 1) / scale;
  }
  return high;
}
