// Everything a training run needs to go on as if it had never stopped: weights, optimiser, moving averages, the best so far, and its place.
import type { NamedArray } from '../io/safetensors.ts';
import { encodeSafetensors, parseSafetensors } from '../io/safetensors.ts';
import type { Schedule } from '../graph/schedule.ts';
import type { Tensor } from '../graph/graph.ts';
import type { ParameterValues } from '../models/parameters.ts';
import type { LossWatch } from './loss-watch.ts';
import type { TrainOptions } from './options.ts';
import type { TrainingStep } from './step.ts';

/** Version of the form below. */
const VERSION = '4';

/** Weights (moving averages) and what they reached on these levels: a score, higher is better, and all that was measured. */
export interface Score {
  step: number;
  levels: readonly number[];
  score: number;
  figures: Record<string, number>;
  values: ParameterValues;
}

export interface Checkpoint {
  options: TrainOptions;
  /** Names of the training images, in order: a run goes on only with the same ones. */
  subjects: readonly string[];
  /** Digest of what is trained on: grid, images, label maps, and the labels that count. */
  data: string;
  /** As of the training set. */
  pairs?: readonly (readonly [number, number])[];
  /** Steps done. All random draws of a step follow from the seed and its number, so that no generator has a state to keep. */
  step: number;
  /** Hours of training so far, over all interruptions. */
  hours: number;
  /** What divergence has lowered the rate by, and how often that was. */
  rateScale: number;
  rollbacks: number;
  /** By `weight/<name>`, `first/<name>`, `second/<name>`, `corrections/<name>`, `average/<name>`. */
  tensors: ReadonlyMap<string, NamedArray>;
  /** The moving averages of the best validation so far. */
  best?: Score;
  /** What the watch for divergence remembers. */
  watch: LossWatch;
  /** Where divergence goes back to: the last regular checkpoint from which the next step was well. Absent: here. */
  anchor?: Omit<Checkpoint, 'anchor'>;
}

/** The GPU's variables of a step, by the names of a checkpoint. */
export function stateTensors({ cell, optimizer, averages }: TrainingStep): Map<string, Tensor> {
  const named = new Map<string, Tensor>();
  [...cell.parameters.tensors].forEach(([name, weight], i) => {
    const { first, second, corrections } = optimizer[i];
    for (const [kind, tensor] of Object.entries({ weight, first, second, corrections, average: averages[i] }))
      named.set(`${kind}/${name}`, tensor);
  });
  return named;
}

/** Reads the state back. */
export async function readState(schedule: Schedule, step: TrainingStep): Promise<Map<string, NamedArray>> {
  const values = new Map<string, NamedArray>();
  for (const [name, tensor] of stateTensors(step)) values.set(name, { shape: tensor.shape, data: await schedule.read(tensor) });
  return values;
}

/** Uploads a state, checked to be this step's. */
export function writeState(schedule: Schedule, step: TrainingStep, values: ReadonlyMap<string, NamedArray>): void {
  const tensors = stateTensors(step);
  const odd = [...tensors].filter(([name, { shape }]) => `${values.get(name)?.shape}` !== `${shape}`).map(([name]) => name);
  if (odd.length || values.size !== tensors.size)
    throw new Error(
      `checkpoint: not of this cell: ${odd.length ? `${odd.join(', ')} missing or of another shape` : 'it has more tensors'}`,
    );
  for (const [name, tensor] of tensors) schedule.upload(tensor, values.get(name)!.data);
}

/** The values of one kind, by parameter name. */
export const valuesOf = (tensors: ReadonlyMap<string, NamedArray>, kind: 'weight' | 'average'): ParameterValues =>
  new Map([...tensors].filter(([name]) => name.startsWith(`${kind}/`)).map(([name, value]) => [name.slice(kind.length + 1), value]));

type Tensors = Map<string, NamedArray>;
/** A checkpoint without its tensors, as JSON has it. */
type Place = Omit<Checkpoint, 'tensors' | 'best' | 'anchor'> & { best?: Omit<Score, 'values'>; anchor?: Place };

export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const tensors: Tensors = new Map();
  const place = JSON.stringify(flatten(checkpoint, tensors, ''));
  return encodeSafetensors(tensors, { deqreg: 'checkpoint', version: VERSION, place });
}

/** Puts the tensors of a checkpoint and of its anchor into one map, by their names behind a prefix. */
function flatten({ tensors, best, anchor, ...rest }: Checkpoint, all: Tensors, prefix: string): Place {
  tensors.forEach((value, name) => all.set(prefix + name, value));
  best?.values.forEach((value, name) => all.set(`${prefix}best/${name}`, value));
  const { values: _, ...score } = best ?? { values: undefined };
  return { ...rest, ...(best && { best: score as Place['best'] }), ...(anchor && { anchor: flatten(anchor, all, `${prefix}anchor/`) }) };
}

/** Reads the bytes of a checkpoint; `file` is its name for messages. */
export function parseCheckpoint(file: string, bytes: Uint8Array): Checkpoint {
  const { tensors, metadata } = parseSafetensors(file, bytes);
  if (metadata.deqreg !== 'checkpoint') throw new Error(`${file}: no checkpoint of deqreg train`);
  if (metadata.version !== VERSION) throw new Error(`${file}: a checkpoint of form ${metadata.version}; this version reads ${VERSION}`);
  return unflatten(JSON.parse(metadata.place) as Place, tensors);
}

/** The inverse of `take`. */
function unflatten({ best, anchor, ...place }: Place, all: ReadonlyMap<string, NamedArray>): Checkpoint {
  const behind = (prefix: string): Tensors =>
    new Map([...all].filter(([name]) => name.startsWith(prefix)).map(([name, value]) => [name.slice(prefix.length), value]));
  return {
    ...place,
    tensors: new Map([...all].filter(([name]) => !/^(best|anchor)\//.test(name))),
    ...(best && { best: { ...best, values: behind('best/') } }),
    ...(anchor && { anchor: unflatten(anchor, behind('anchor/')) }),
  };
}
