// How work is dealt to workgroups: over a volume's (w, h) plane, over a flat range, over lines along one axis.
import fillSource from '../../kernels/fill.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Processor, show, type Shape, type Tensor } from '../graph/graph.ts';

const fillKernel = kernel('fill', fillSource);

/** Invocations of a workgroup that runs over a flat range. */
export const WG = 64;
/** Invocations of a workgroup that sums many values: on a GPU more, so that more loads are on their way for as many partial sums. */
export const SUMMING: Record<Processor, number> = { cpu: WG, gpu: 4 * WG };
/** Outputs in a row that one invocation of a line kernel makes. */
export const RUN = 32;

/** Workgroups along an axis that every device takes. */
export const MOST_GROUPS = 65535;

/** Where each of parts of these sizes begins that lie one behind the other. */
export function offsets(sizes: readonly number[]): number[] {
  let end = 0;
  return sizes.map((size) => (end += size) - size);
}

/**
 * From so many items on, larger workgroups: a GPU starts one in a nanosecond, and 64 invocations that copy an item each are done sooner.
 */
const MANY = 2 ** 18;

/** Workgroups (and their constant) for a flat range of `count` items, with `z` copies of it along z. */
export function flat(
  count: number,
  z = 1,
  invocations = count < MANY ? WG : 4 * WG,
): { constants: { WG: number }; groups: [number, number, number] } {
  const groups = Math.ceil(count / invocations);
  const rows = Math.ceil(groups / MOST_GROUPS) || 1;
  return { constants: { WG: invocations }, groups: [Math.ceil(groups / rows), rows, z] }; // rows of one length: few workgroups have nothing to do
}

/**
 * The same over values that are read in items of LANES, `count` of them: four where that leaves no rest, which is above all faster on a
 * CPU.
 */
export function flatItems(values: number, z = 1, lanes = values % 4 === 0 ? 4 : 1) {
  const count = values / lanes;
  const { constants, groups } = flat(count, z);
  return { constants: { ...constants, LANES: lanes }, groups, count };
}

/** Workgroups for one invocation a voxel: x runs over w, y over h, z over everything outside. Larger ones for many voxels on a GPU. */
export function perVoxel(
  w: number,
  h: number,
  z: number,
  processor: Processor = 'cpu',
): { constants: { WG: number; WG_X: number; WG_Y: number }; groups: [number, number, number] } {
  const invocations = processor === 'cpu' || w * h * z < MANY ? WG : 4 * WG;
  const padded = (x: number) => Math.ceil(w / x) * x * Math.ceil(h / (invocations / x)) * (invocations / x);
  const taken = (x: number) => Math.ceil(w / x) <= MOST_GROUPS && Math.ceil((h * x) / invocations) <= MOST_GROUPS;
  const x = [64, 32, 16, 8].filter(taken).reduce((best, candidate) => (padded(candidate) < padded(best) ? candidate : best), 64);
  return {
    constants: { WG: invocations, WG_X: x, WG_Y: invocations / x },
    groups: [Math.ceil(w / x), Math.ceil(h / (invocations / x)), z],
  };
}

/** Invocations of a workgroup in a plane: as many as MOST_GROUPS have are fewer than 2²³, below which kernels/lib/batch.wgsl divides. */
const PLANE_WG = 128;

/** Workgroups for `count` items of a plane, one an invocation: x runs over the plane, row after row, z over everything outside. */
export function flatPlanes(count: number, z: number): { constants: { WG: number }; groups: [number, number, number] } {
  const groups = Math.ceil(count / PLANE_WG);
  if (groups > MOST_GROUPS)
    throw new Error(`a plane of ${count} voxels needs ${groups} workgroups, at most ${MOST_GROUPS}; use a smaller volume`);
  return { constants: { WG: PLANE_WG }, groups: [groups, 1, z] };
}

/** Workgroups for line kernels: x runs over the lines, y over the runs of `run` outputs in a line of `n`. */
export function lines(
  count: number,
  n: number,
  run = RUN,
): { constants: { WG: number; WG_X: number; WG_Y: number }; groups: [number, number, number]; runs: number } {
  const runs = Math.ceil(n / run);
  const groups = Math.ceil(count / WG);
  if (groups > MOST_GROUPS)
    throw new Error(`a pass over ${count} lines needs ${groups} workgroups, at most ${MOST_GROUPS}; use a smaller volume`);
  return { constants: { WG, WG_X: WG, WG_Y: 1 }, groups: [groups, runs, 1], runs };
}

export interface VolumeSize {
  n: number;
  c: number;
  d: number;
  h: number;
  w: number;
  voxels: number;
}

/** Takes a [N, C, D, H, W] shape apart; throws, naming the op and the operand, when it is none. */
export function volume(op: string, name: string, shape: Shape, channels?: number): VolumeSize {
  if (shape.length !== 5) throw new Error(`${op}: ${name} must be [N, C, D, H, W], got ${show(shape)}`);
  const [n, c, d, h, w] = shape as [number, number, number, number, number];
  if (channels !== undefined && c !== channels)
    throw new Error(`${op}: ${name} needs ${channels} channel${channels > 1 ? 's' : ''}, got ${show(shape)}`);
  return { n, c, d, h, w, voxels: d * h * w };
}

/** Layout along one spatial axis (0 = w, 1 = h, 2 = d) of a [N, C, D, H, W] shape: its length and the stride of a step. */
export function along(shape: Shape, axis: number): { n: number; inner: number } {
  const [, , d, h, w] = shape as [number, number, number, number, number];
  return axis === 0 ? { n: w, inner: 1 } : axis === 1 ? { n: h, inner: w } : { n: d, inner: w * h };
}

/** One launch that writes `value` everywhere. */
export function fillWith(y: Tensor, value: number): Dispatch {
  const count = numel(y.shape);
  return { kernel: fillKernel, ...flat(count), bindings: { y }, params: { count, value } };
}
