// What report.ts hands to the page as JSON.
import type { Vec3 } from '../../io/affine.ts';
import type { Report } from '../metrics.ts';

/** Bytes on a grid along right, anterior, superior (x fastest): `codec.ts`, unless they are `plain`, then gzip, base64. */
export interface Layer {
  size: Vec3;
  /** mm of a cell. */
  spacing: Vec3;
  plain?: boolean;
  data: string;
}

/** Of an intensity: there is none. */
export const OUTSIDE = 255;

export interface Pictures {
  /** The fixed grid along right, anterior, superior: voxels, mm of a voxel, and the voxel axis (i, j or k; reversed or not) of each. */
  size: Vec3;
  spacing: Vec3;
  axes: { letter: string; flip: boolean }[];
  /**
   * Intensities: 0 to `levels` span the window in which the image was compared, and a tenth more; OUTSIDE, beyond the moving image's
   * voxels.
   */
  levels: number;
  fixed: Layer;
  moving: Layer;
  warped: Layer;
  /** Label maps on the fixed grid, where there are some: codes that tell labels apart, 0 for none that counts. */
  fixedLabels?: Layer;
  warpedLabels?: Layer;
  /** log J: code 0 marks a cell with a fold, others are (code − 128) / `logSteps` · `logRange`. */
  logJacobian: Layer;
  logRange: number;
  logSteps: number;
  /** One layer for each of right, anterior, superior: (code − 128) · `step` mm. */
  displacement: Layer[];
  step: number;
}

export interface Content {
  command: string;
  made: string;
  /** metrics.json, in which later versions may have more than this one knows. */
  report: Report & Record<string, unknown>;
  pictures: Pictures;
  licence: string;
}
