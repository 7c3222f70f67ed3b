/** (W, H, D) in voxels. */
export type Size = readonly [number, number, number];

/** Brains at a quarter, half and full resolution. */
export const QUARTER: Size = [40, 48, 56];
export const HALF: Size = [80, 96, 112];
export const FULL: Size = [160, 192, 224];
