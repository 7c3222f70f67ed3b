// Models as files: the shipped ones, which of them fits an image, and what is reported of the one that was used.
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readBytes } from '../io/files.ts';
import type { MaskedVolume } from '../io/volume.ts';
import type { Model } from '../models/cells.ts';
import { intensityWindow, type Modality } from '../register/intensity.ts';
import { type ModelCard, parseModel } from '../register/model.ts';
import { UsageError } from './args.ts';

export interface ModelFile {
  path: string;
  sha256: string;
  model: Model;
  card: ModelCard;
}

/** Beside dist/, in the package and in the bundle for servers. */
export const shippedFolder = fileURLToPath(new URL('../weights/', import.meta.url));
const EXTENSION = '.safetensors';

export async function readModelFile(path: string): Promise<ModelFile> {
  const bytes = await readBytes(path);
  return { path, sha256: createHash('sha256').update(bytes).digest('hex'), ...parseModel(path, bytes) };
}

/** All shipped models, by file name; none where there is no such folder. */
export async function shippedModels(): Promise<ModelFile[]> {
  const names = await readdir(shippedFolder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const files = names.filter((name) => name.endsWith(EXTENSION)).sort();
  return Promise.all(files.map((name) => readModelFile(join(shippedFolder, name))));
}

/** The shipped model for an image: of the modality that is given, or else of the one that its values suggest. */
export async function shippedModelFor({ data, mask }: MaskedVolume, given: Modality | 'auto' = 'auto'): Promise<ModelFile> {
  const { modality } = intensityWindow(data, given, mask);
  const all = await shippedModels();
  const fitting = all.filter(({ model }) => model.modality === modality);
  if (fitting.length === 1) return fitting[0];
  const listed = (files: ModelFile[]) => files.map(({ card, model }) => `${card.name} (${model.modality})`).join(', ');
  const what = `--method deq: ${modality.toUpperCase()}${given === 'auto' ? ', by the values of the fixed image,' : ''}`;
  if (!all.length) throw new UsageError(`${noModels}; choose one with --model FILE, or --method equilibrium, which needs none`);
  if (!fitting.length) throw new UsageError(`${what} has no shipped model; there are ${listed(all)}; choose one with --model FILE`);
  throw new UsageError(`${what} has several shipped models: ${listed(fitting)}; choose one with --model FILE`);
}

export const noModels = `no models are shipped with this deqreg: ${shippedFolder} has no ${EXTENSION} file`;

/** What metrics.json and the report say of the model that was used. */
export const modelNote = ({ path, sha256, model: { cell, channels, modality }, card: { name, summary } }: ModelFile) => ({
  name,
  summary,
  file: path,
  sha256,
  cell,
  channels,
  modality,
});
export type ModelNote = ReturnType<typeof modelNote>;
