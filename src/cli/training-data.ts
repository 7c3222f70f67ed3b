// What deqreg train trains on and validates with: read from a data list, or made.
import type { Gpu } from '../gpu/device.ts';
import type { DataList, DataPair } from '../io/data-list.ts';
import { readAffine, readLandmarks, readVolume } from '../io/files.ts';
import { pairsOf, subjectsOf } from '../io/data-list.ts';
import { checkNotConstant, type Grid, type MaskedVolume, sameGrid } from '../io/volume.ts';
import { intensityWindow } from '../register/intensity.ts';
import { presentLabels } from '../register/metrics.ts';
import { phantom } from '../register/phantom.ts';
import { prepareSubject, type TrainingSet } from '../train/data.ts';
import type { ValidationPair } from '../train/validate.ts';
import { checkLabels, withPrefix, withoutNaN } from './inputs.ts';
import { readMasked } from './read-inputs.ts';

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
export async function readTrainingData(
  list: DataList,
  gpu: Gpu,
  factor: number,
  onProgress: (text: string) => void,
  onWarning: (lines: readonly string[]) => void,
): Promise<TrainingData> {
  const readImage = async (path: string, mask: string | undefined): Promise<MaskedVolume> => {
    const image = await readMasked(path, mask);
    onWarning(withoutNaN(path, image));
    checkNotConstant(path, image);
    return image;
  };
  const subjects = subjectsOf(list);
  const pairs = list.pairs.validation.length ? pairsOf(list, 'validation') : [];
  let modality = list.modality;
  let set: TrainingSet | undefined;
  let first: Grid | undefined;
  const seen = new Set<number>();
  for (const [i, { id, image, label, mask }] of subjects.entries()) {
    onProgress(`reading image ${i + 1} of ${subjects.length}`);
    const volume = await readImage(image, mask);
    first ??= { size: volume.size, affine: volume.affine };
    checkSameGrid(image, volume, subjects[0].image, first);
    modality ??= intensityWindow(volume.data, 'auto', volume.mask).modality;
    const map = label === undefined ? undefined : await readVolume(label);
    if (map) {
      checkLabels(label!, map, image, volume);
      if (!list.labels) for (const value of map.data) if (value > 0) seen.add(value);
    }
    const { grid, ...prepared } = await withPrefix(image, () => prepareSubject(gpu, id, volume, map, factor, modality!));
    set ??= { grid, subjects: [] };
    set.subjects.push(prepared);
  }
  const labels = list.labels ?? [...seen].sort((a, b) => a - b);
  const validation: ValidationPair[] = [];
  for (const [i, pair] of pairs.entries()) {
    onProgress(`reading validation pair ${i + 1} of ${pairs.length}`);
    validation.push(await readPair(pair, labels, readImage));
  }
  if (list.trainingPairs.length) set!.pairs = numbersOf(list);
  return { set: set!, labels, validation, modality: modality!, told: toldOf(list, set!) };
}

/** The pairs that the list prescribes, by the numbers of their images. */
function numbersOf({ path, subjects, trainingPairs }: DataList): (readonly [number, number])[] {
  const numberOf = (image: string) => {
    const at = subjects.findIndex((subject) => subject.image === image);
    if (at < 0) throw new Error(`${path}: training_paired_images: ${image} is not in "training"; list it there`);
    return at;
  };
  return trainingPairs.map(({ fixed, moving }) => [numberOf(fixed), numberOf(moving)] as const);
}

/** Throws on an image whose voxels are not where the first one's are, but for a shift as a whole: training knows one grid. */
function checkSameGrid(path: string, volume: Grid, firstPath: string, first: Grid): void {
  const shape = ({ size, affine }: Grid) => {
    const linear = affine.map((x, i) => (i % 4 === 3 ? 0 : x));
    return { size, affine: linear };
  };
  if (sameGrid(shape(volume), shape(first))) return;
  const tell = ({ size, affine }: Grid) => {
    const axes = [0, 1, 2].map((j) => `(${[affine[j], affine[4 + j], affine[8 + j]].map((mm) => Number(mm.toFixed(3))).join(' ')})`);
    return `${size.join('×')} voxels along ${axes.join(' ')} mm`;
  };
  throw new Error(`${path}: ${tell(volume)}, other than ${firstPath} with ${tell(first)}; resample all images to one grid first`);
}

const toldOf = ({ name, licence }: DataList, { subjects, pairs }: TrainingSet) => ({
  name,
  data: `${name}: ${subjects.length} image${subjects.length === 1 ? '' : 's'} (${subjects.filter((s) => s.labels).length} with labels)${pairs ? `, ${pairs.length} pair${pairs.length === 1 ? '' : 's'} of them` : ''}`,
  licence: licence ?? 'not stated',
});

async function readPair(
  pair: DataPair,
  labels: readonly number[],
  readImage: (path: string, mask: string | undefined) => Promise<MaskedVolume>,
): Promise<ValidationPair> {
  const optional = (path: string | undefined) => (path === undefined ? undefined : readVolume(path));
  const [fixed, moving] = [await readImage(pair.fixed, pair.fixedMask), await readImage(pair.moving, pair.movingMask)];
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
        labels: withPrefix(pair.name, () => presentLabels(fixedLabel.data, movingLabel.data, labels.length ? labels : undefined)),
      },
    landmarks: pair.landmarks === undefined ? undefined : await readLandmarks(pair.landmarks, { fixed, moving }),
    initial: pair.initial === undefined ? undefined : await readAffine(pair.initial),
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
