// The learned cells by name, and what a trained one is.
import type { Graph } from '../graph/graph.ts';
import type { Cell, CellOptions } from './cell.ts';
import { deqreg } from './deqreg.ts';
import { gradirn } from './gradirn.ts';
import type { ParameterValues } from './parameters.ts';

/**
 * A cell of one's own joins by `cells.mine = mine`; it is then trained, saved, read and solved under that name, like these. Its weights are
 * the same for every `similarity` and `dtype`.
 */
export const cells: Record<string, (graph: Graph, options: CellOptions) => Cell> = { deqreg, gradirn };

/** A trained cell: how it is traced, and its weights. */
export interface Model {
  /** Its name among `cells`. */
  cell: string;
  channels: CellOptions['channels'];
  /** Width of the LNCC window of its force, in voxels of each level, odd. */
  window: number;
  /** Diffusion regularisation of each level, coarse to fine, in voxel² of its finest axis a step; the cell has a default. */
  lambda?: readonly number[];
  /** What it was trained on; `mri` and `ct` differ in how intensities are windowed. */
  modality: 'mri' | 'ct';
  /** How it is to be solved, a list over levels from coarse to fine: evaluations at most; register() has defaults. */
  iterations?: readonly number[];
  /** … and the RMS of f(u) − u, in voxels of the level's grid, below which a level ends. */
  tolerance?: readonly number[];
  values: ParameterValues;
}
