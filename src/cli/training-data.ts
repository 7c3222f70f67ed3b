// What deqreg train trains on and validates with: read from a data list, or made.
import type { Gpu } from '../gpu/device.ts';
import type { DataList, DataPair } from '../io/data-list.ts';
import { readDataList, readLandmarks, readVolume } from '../io/files.ts';
import { pairsOf, subjectsOf } from '../io/data-list.ts';
import { type MaskedVolume, sameGrid } from '../io/volume.ts';
import { intensityWindow } from '../register/intensity.ts';
import { presentLabels } from '../register/metrics.ts';
import { phantom } from '../register/phantom.ts';
import { prepareSubject, type TrainingSet } from '../train/data.ts';
import type { ValidationPair } from '../train/validate.ts';
import { checkLabels, maskOf, within } from './inputs.ts';

export interface TrainingData {
  set: TrainingSet;
  /** Labels whose Dice counts. */
  labels: number[];
  validation: ValidationPair[];
  modality: 'mri' | 'ct';
  /** For the model card. */
  told: { name: string; data: string; licence: string };
}

/** Reads a data list's images, one after the other, onto the grid of `factor` times their finest spacing. */
export async function readTrainingData(path: string, gpu: Gpu, factor: number, onProgress: (text: string) => void): Promise<TrainingData> {
  const list = await readDataList(path);
  const subjects = subjectsOf(list);
  const pairs = list.pairs.validation.length ? pairsOf(list, 'validation') : [];
  let modality = list.modality;
  let set: TrainingSet | undefined;
  const seen = new Set<number>();
  for (const [i, { id, image, label, mask }] of subjects.entries()) {
    onProgress(`reading image ${i + 1} of ${subjects.length}`);
    const volume = await masked(image, mask);
    modality ??= intensityWindow(volume.data).modality;
    const map = label === undefined ? undefined : await readVolume(label);
    if (map) {
      checkLabels(label!, map, image, volume);
      if (!list.labels) for (const value of map.data) if (value > 0) seen.add(value);
    }
    const { grid, ...prepared } = await within(image, () => prepareSubject(gpu, id, volume, map, factor, modality!));
    set ??= { grid, subjects: [] };
    if (!sameGrid({ ...grid, affine: set.grid.affine }, set.grid))
      throw new Error(`${image}: ${volume.size.join('×')} voxels, other than ${subjects[0]!.image}; resample all images to one grid first`);
    set.subjects.push(prepared);
  }
  const labels = list.labels ?? [...seen].sort((a, b) => a - b);
  const validation: ValidationPair[] = [];
  for (const [i, pair] of pairs.entries()) {
    onProgress(`reading validation pair ${i + 1} of ${pairs.length}`);
    validation.push(await readPair(pair, labels));
  }
  return { set: set!, labels, validation, modality: modality!, told: toldOf(list, set!) };
}

const toldOf = ({ name, licence }: DataList, { subjects }: TrainingSet) => ({
  name,
  data: `${name}: ${subjects.length} image${subjects.length === 1 ? '' : 's'} (${subjects.filter((s) => s.labels).length} with labels)`,
  licence: licence ?? 'not stated',
});

/** An image with its mask, where it has one. */
async function masked(path: string, maskPath: string | undefined): Promise<MaskedVolume> {
  const image = await readVolume(path);
  return maskPath === undefined ? image : { ...image, mask: maskOf(maskPath, await readVolume(maskPath), path, image) };
}

async function readPair(pair: DataPair, labels: readonly number[]): Promise<ValidationPair> {
  const optional = (path: string | undefined) => (path === undefined ? undefined : readVolume(path));
  const [fixed, moving] = [await masked(pair.fixed, pair.fixedMask), await masked(pair.moving, pair.movingMask)];
  const [fixedLabel, movingLabel] = [await optional(pair.fixedLabel), await optional(pair.movingLabel)];
  if (fixedLabel) checkLabels(pair.fixedLabel!, fixedLabel, pair.fixed, fixed);
  if (movingLabel) checkLabels(pair.movingLabel!, movingLabel, pair.moving, moving);
  return {
    name: pair.name,
    fixed,
    moving,
    segmentation: fixedLabel &&
      movingLabel && {
        fixed: fixedLabel,
        moving: movingLabel,
        labels: within(pair.name, () => presentLabels(fixedLabel.data, movingLabel.data, labels.length ? labels : undefined)),
      },
    landmarks: pair.landmarks === undefined ? undefined : await readLandmarks(pair.landmarks),
  };
}

/** Voxels and seeds of the phantoms that a demonstration trains on, and of the one that it validates with. */
const DEMO = { size: [64, 80, 96] as const, seeds: [1, 2, 3, 4], validation: 5 };

/** Synthetic brains with labels: each seed gives two images. */
export async function demoData(gpu: Gpu, factor: number): Promise<TrainingData> {
  let set: TrainingSet | undefined;
  for (const seed of DEMO.seeds) {
    const pair = phantom('brain', DEMO.size, seed);
    for (const [side, volume, labels] of [
      ['fixed', pair.fixed, pair.fixedSeg],
      ['moving', pair.moving, pair.movingSeg],
    ] as const) {
      const { grid, ...prepared } = await prepareSubject(gpu, `phantom ${seed} ${side}`, volume, labels, factor, 'mri');
      set ??= { grid, subjects: [] };
      set.subjects.push(prepared);
    }
  }
  const { fixed, moving, fixedSeg, movingSeg } = phantom('brain', DEMO.size, DEMO.validation);
  const labels = presentLabels(fixedSeg.data, movingSeg.data);
  return {
    set: set!,
    labels,
    validation: [{ name: 'phantom', fixed, moving, segmentation: { fixed: fixedSeg, moving: movingSeg, labels } }],
    modality: 'mri',
    told: { name: 'demo', data: `${set!.subjects.length} synthetic brains`, licence: 'none needed: synthetic' },
  };
}
