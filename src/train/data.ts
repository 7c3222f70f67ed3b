// Images to train on: windowed to 0…1, on the grid of the finest level that is trained, and coarser for the stages before.
import type { Gpu } from '../gpu/device.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import { runOnce } from '../graph/schedule.ts';
import { type Grid, type MaskedVolume, sameGrid, type Volume, voxelCount } from '../io/volume.ts';
import { applyWindow, resize } from '../ops/index.ts';
import { intensityWindow, type Modality } from '../register/intensity.ts';
import { type Level, levelGrid, levelSpacing, shapeOf } from '../register/pyramid.ts';

/** An image of one person, [D, H, W] on the set's grid, intensities in 0…1; its labels where it has them. */
export interface TrainingSubject {
  id: string;
  image: Float32Array;
  labels?: Float32Array;
}

/** All images of a training run, on one grid. */
export interface TrainingSet {
  grid: Grid;
  subjects: TrainingSubject[];
  /** Fixed and moving images, by their numbers, that are trained on. Absent: any two. */
  pairs?: readonly (readonly [number, number])[];
}

/**
 * A volume as training takes it: windowed, on the grid of `factor` times the finest spacing, its labels by majority. What lies outside its
 * mask becomes background.
 */
export async function prepareSubject(
  gpu: Gpu,
  id: string,
  volume: MaskedVolume,
  labels: Volume | undefined,
  factor: number,
  modality: Modality | 'auto',
): Promise<TrainingSubject & { grid: Level }> {
  if (labels && !sameGrid(labels, volume)) throw new Error(`${id}: the label map is not on its image's grid`);
  const { data, mask } = volume;
  const { low, high } = intensityWindow(data, modality, mask);
  const grid = levelGrid(volume, levelSpacing(volume, factor));
  const image = await resized(gpu, volume, grid, mask ? data.map((value, v) => (mask[v] ? value : low)) : data, (x) =>
    applyWindow(x, low, high),
  );
  return { id, grid, image, labels: labels && majority(labels.data, volume, grid) };
}

/** SHA-256 of all that a run learns from: what it goes on with must be what it began with. */
export async function digestOf({ grid, subjects }: TrainingSet, labels: readonly number[]): Promise<string> {
  const sha = async (bytes: BufferSource) => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const parts = [new TextEncoder().encode(JSON.stringify([grid.size, grid.affine, labels]))];
  for (const subject of subjects)
    for (const values of [subject.image, subject.labels ?? new Float32Array()]) parts.push(await sha(values as Float32Array<ArrayBuffer>));
  const digest = await sha(await new Blob(parts).arrayBuffer());
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The set on the grid of a coarser level; `factor` is in multiples of its own finest spacing. */
export async function coarsen(gpu: Gpu, set: TrainingSet, factor: number): Promise<TrainingSet> {
  if (factor === 1) return set;
  const { grid, subjects } = set;
  const to = levelGrid(grid, levelSpacing(grid, factor));
  const coarse: TrainingSubject[] = [];
  for (const { id, image, labels } of subjects)
    coarse.push({ id, image: await resized(gpu, grid, to, image), labels: labels && majority(labels, grid, to) });
  return { ...set, grid: to, subjects: coarse };
}

async function resized(gpu: Gpu, from: Grid, to: Grid, data: Float32Array, first = (x: Tensor) => x): Promise<Float32Array> {
  const graph = new Graph();
  const x = graph.input('image', [1, 1, ...shapeOf(from)]);
  const y = graph.phase('resize', () => graph.output(resize(first(x), shapeOf(to))));
  return runOnce(gpu, graph, [[x, data]], y);
}

/** The most frequent label among the voxels of each coarse voxel; of equally frequent ones the smallest. */
export function majority(labels: Float32Array, from: Grid, to: Grid): Float32Array {
  const coarse = new Float32Array(voxelCount(to));
  const [W, H, D] = from.size,
    [w, h, d] = to.size;
  const range = (i: number, n: number, of: number) => [Math.floor((i * of) / n), Math.max(Math.floor(((i + 1) * of) / n), 1)] as const;
  const counts = new Map<number, number>();
  for (let z = 0, v = 0; z < d; z++)
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++, v++) {
        counts.clear();
        const [x0, x1] = range(x, w, W),
          [y0, y1] = range(y, h, H),
          [z0, z1] = range(z, d, D);
        for (let k = z0; k < z1; k++)
          for (let j = y0; j < y1; j++)
            for (let i = x0; i < x1; i++) {
              const label = labels[(k * H + j) * W + i];
              counts.set(label, (counts.get(label) ?? 0) + 1);
            }
        let best = 0,
          most = 0;
        for (const [label, count] of counts) if (count > most || (count === most && label < best)) [best, most] = [label, count];
        coarse[v] = best;
      }
  return coarse;
}

/** Share of the pairs that are drawn among images with labels, where Dice counts and there are such. */
const LABELLED = 0.5;

/**
 * Fixed and moving image of a step, by their numbers: one of the set's pairs, or else two different ones, or one twice where there is only
 * one. With `dice`, half of the pairs are drawn among those with labels.
 */
export function drawPair({ subjects, pairs }: TrainingSet, random: () => number, dice: boolean): readonly [number, number] {
  if (pairs) {
    const labelled = pairs.filter((pair) => pair.every((i) => subjects[i].labels));
    const [a, b] = [random(), random()];
    const among = dice && labelled.length && a < LABELLED ? labelled : pairs;
    return among[Math.floor(b * among.length)];
  }
  const all = subjects.map((_, i) => i);
  const labelled = all.filter((i) => subjects[i].labels);
  const [a, b, c] = [random(), random(), random()];
  const among = dice && labelled.length > 1 && a < LABELLED ? labelled : all;
  const first = Math.floor(b * among.length);
  const second = among.length > 1 ? (first + 1 + Math.floor(c * (among.length - 1))) % among.length : first;
  return [among[first], among[second]];
}
