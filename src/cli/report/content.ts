// What report.ts hands to the page as JSON.
import type { Vec3 } from '../../io/affine.ts';
import type { Report } from '../metrics.ts';

/** Bytes on a grid along right, anterior, superior (x fastest): `codec.ts`, gzip, base64. */
export interface Layer {
  size: Vec3;
  /** mm of a cell. */
  spacing: Vec3;
  data: string;
}

export interface Pictures {
  /** The fixed grid along right, anterior, superior: voxels, mm of a voxel, and the voxel axis (i, j or k; reversed or not) of each. */
  size: Vec3;
  spacing: Vec3;
  axes: { letter: string; flip: boolean }[];
  /** Intensities: 0 to `levels` span the window in which the image was compared, and a tenth more. */
  levels: number;
  fixed: Layer;
  moving: Layer;
  warped: Layer;
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
