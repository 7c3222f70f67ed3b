// A trained model as a file: .safetensors with the weights, and in its metadata how the cell is traced and solved, and the model card.
import { Graph } from '../graph/graph.ts';
import type { Content } from '../io/bytes.ts';
import { isObject } from '../io/json.ts';
import { encodeSafetensors, parseSafetensors } from '../io/safetensors.ts';
import { cells, type Model } from '../models/cells.ts';

/** Where a model comes from and what it reached. */
export interface ModelCard {
  name: string;
  /** One sentence: what it registers, and how well. */
  summary: string;
  /** What it was trained on, and what that data's licence allows. */
  data: string;
  licence: string;
  /** How it was made: the command, and what it does not say. */
  command: string;
  seed: number;
  steps: number;
  adjoint: string;
  /** Evaluations of the cell on a level at most while it was trained: T of an unrolled one. */
  evaluations: number;
  adapter: string;
  hours: number;
  /** ISO 8601. */
  date: string;
  /** Version or commit of deqreg. */
  version: string;
  /** Figures on data that it was not trained on, by name. */
  validation: Record<string, unknown>;
}

/** Of the metadata's layout and of the cells' formulas: a model of another format is not solved as it was trained. */
const FORMAT = 1;
const KEY = 'deqreg_model';

const texts = ['name', 'summary', 'data', 'licence', 'command', 'adjoint', 'adapter', 'date', 'version'] as const;
const numbers = ['seed', 'steps', 'hours'] as const;

/** The bytes of a model's file. Throws on what `parseModel` would refuse. */
export function encodeModel(model: Model, card: ModelCard): Uint8Array {
  checkModel(model);
  checkCard(card);
  const { cell, channels, window, modality, lambda, iterations, tolerance, values } = model;
  return encodeSafetensors(values, {
    [KEY]: String(FORMAT),
    cell,
    channels: String(channels),
    window: String(window),
    modality,
    ...(lambda && { lambda: JSON.stringify(lambda) }),
    ...(iterations && { iterations: JSON.stringify(iterations) }),
    ...(tolerance && { tolerance: JSON.stringify(tolerance) }),
    card: JSON.stringify(card),
  });
}

/**
 * Reads a whole file; `path` is its name for messages. Throws, naming it, on everything that is missing, unknown, out of range or newer
 * than this.
 */
export function parseModel(path: string, bytes: Content): { model: Model; card: ModelCard } {
  const { tensors, metadata } = parseSafetensors(path, bytes);
  try {
    const format = metadata[KEY];
    if (format === undefined) throw new Error(`no deqreg model: its metadata has no ${KEY}; train or export one with deqreg`);
    if (Number(format) > FORMAT) throw new Error(`a model of format ${format}, this deqreg reads ${FORMAT}; install a newer one`);
    if (Number(format) !== FORMAT) throw new Error(`a model of format ${format}, this deqreg reads ${FORMAT}; train it again`);
    const { cell, modality, card } = metadata;
    const json = (key: string): unknown => {
      try {
        return metadata[key] === undefined ? undefined : JSON.parse(metadata[key]);
      } catch (error) {
        throw new Error(`metadata ${key} is no JSON: ${(error as Error).message}`);
      }
    };
    if (card === undefined) throw new Error('its metadata has no card');
    const lists = { lambda: json('lambda'), iterations: json('iterations'), tolerance: json('tolerance') };
    const model = {
      cell,
      channels: Number(metadata.channels),
      window: Number(metadata.window),
      modality: modality as Model['modality'],
      ...(lists.lambda !== undefined && { lambda: lists.lambda as number[] }),
      ...(lists.iterations !== undefined && { iterations: lists.iterations as number[] }),
      ...(lists.tolerance !== undefined && { tolerance: lists.tolerance as number[] }),
      values: tensors,
    };
    checkModel(model);
    return { model, card: checkCard(json('card')) };
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`);
  }
}

/**
 * Throws on a model that cannot be traced or solved: what it says of itself, names and shapes of its weights, and weights that are no
 * numbers.
 */
export function checkModel(model: Model): void {
  if (model === null || typeof model !== 'object' || (!Object.hasOwn(model, 'values') && !('model' in model)))
    throw new Error(
      `model must be what readModel or parseModel gives as \`model\`, got ${typeof model === 'string' ? model : typeof model}`,
    );
  if ('model' in model) throw new Error('model: got the whole of what readModel returns; give its `model`');
  const { cell, channels, window, modality, lambda, iterations, tolerance, values } = model;
  if (!(values instanceof Map)) throw new Error('model: values must be a Map of weights by name; JSON keeps none, encodeModel does');
  if (!Object.hasOwn(cells, cell)) throw new Error(`model: cell ${cell} is none of ${Object.keys(cells).join(', ')}`);
  if (!Number.isInteger(window) || window < 3 || window % 2 === 0)
    throw new Error(`model: window must be an odd whole number of at least 3 voxels, got ${window}`);
  if (modality !== 'mri' && modality !== 'ct') throw new Error(`model: modality ${modality} is none of mri, ct`);
  checkList('lambda', lambda, (l) => l >= 0 && l <= 50, 'between 0 and 50 voxel²');
  checkList('iterations', iterations, (n) => Number.isInteger(n) && n >= 1, 'whole numbers above 0');
  checkList('tolerance', tolerance, (t) => t >= 0 && Number.isFinite(t), '0 voxels or more');
  try {
    cells[cell](new Graph(), { channels, similarity: 'exact' }).parameters.check(values);
  } catch (error) {
    throw new Error(`model: ${(error as Error).message}`);
  }
  for (const [name, { data }] of values)
    if (!data.every(Number.isFinite)) throw new Error(`model: parameter ${name} has values that are not finite`);
}

function checkList(name: string, list: unknown, valid: (value: number) => boolean, rule: string): void {
  if (list === undefined) return;
  if (!Array.isArray(list) || !list.length || !list.every((value) => typeof value === 'number' && valid(value)))
    throw new Error(`model: ${name} must be a list, coarse to fine, of ${rule}, got ${JSON.stringify(list)}`);
}

function checkCard(card: unknown): ModelCard {
  if (!isObject(card)) throw new Error('card: no JSON object');
  const wrong = [
    ...texts.filter((name) => typeof card[name] !== 'string'),
    ...numbers.filter((name) => typeof card[name] !== 'number' || !Number.isFinite(card[name])),
    ...(isObject(card.validation) ? [] : ['validation']),
    ...(Number.isInteger(card.evaluations) && (card.evaluations as number) > 0 ? [] : ['evaluations']),
  ];
  if (wrong.length)
    throw new Error(
      `card: ${wrong.join(', ')} missing or of another kind; texts: ${texts.join(', ')}; numbers: ${numbers.join(', ')}; an object: validation`,
    );
  return card as unknown as ModelCard;
}
