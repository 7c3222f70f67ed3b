// The entries of a data list, image by image and pair by pair: types checked, paths resolved, labels and masks looked up.
import { besideLabel, resolvePath } from './data-path.ts';
import type { DataPair } from './data-list.ts';
import { isObject } from './json.ts';

const IMAGE_KEYS = ['image', 'label', 'mask', 'subject'];
const PAIR_KEYS = ['fixed', 'moving', 'name', 'fixedLabel', 'movingLabel', 'fixedMask', 'movingMask', 'landmarks', 'initial'];
/** Learn2Reg's automatic correspondences of an image: no landmarks to measure by, so they are not read. */
const NOT_READ = /^keypoints\d*$/;

type Json = Record<string, unknown>;
/** Throws `file: place in the JSON: what`. */
export type Fail = (where: string, what: string) => never;
export type Exists = (path: string) => boolean;

export interface ImageEntry {
  where: string;
  label?: string;
  mask?: string;
  subject?: string;
}
export type PairEntry = Omit<DataPair, 'name'> & { where: string; name?: string };

export const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 80));
export const isPair = (entry: unknown): boolean => isObject(entry) && ('fixed' in entry || 'moving' in entry);

/** What is listed under a key, with its place in the JSON; nothing where the key is missing. */
export function entriesOf(json: Json, key: string, fail: Fail): [where: string, entry: unknown][] {
  const value = json[key] ?? [];
  if (!Array.isArray(value)) return fail(key, `${show(value)} is no list`);
  return value.map((entry, n) => [`${key}[${n}]`, entry]);
}

/** Reads entries of the list in the file `path`. The images come first: pairs find labels and masks there. */
export function entryReader(path: string, fail: Fail, exists?: Exists) {
  const images = new Map<string, ImageEntry>();

  const file = (where: string, value: unknown): string => {
    const given = typeof value === 'string' && value.trim() ? value : fail(where, `the path of a file is needed, got ${show(value)}`);
    const found = resolvePath(path, given);
    return !exists || exists(found) ? found : fail(where, `${found} does not exist; paths are relative to the folder of the list`);
  };
  const optional = (where: string, entry: Json, key: string) =>
    entry[key] === undefined ? undefined : file(`${where}.${key}`, entry[key]);
  const text = (where: string, value: unknown): string | undefined =>
    value === undefined || (typeof value === 'string' && value.trim())
      ? (value as string)
      : fail(where, `a name is needed, got ${show(value)}`);
  const checkKeys = (where: string, entry: Json, known: string[]) => {
    const odd = Object.keys(entry).find((key) => !known.includes(key) && !NOT_READ.test(key));
    if (odd !== undefined) fail(where, `unknown key ${JSON.stringify(odd)}; there are ${known.join(', ')}`);
  };
  /** An image's label map where no entry names one. */
  const beside = (image: string) => {
    const label = besideLabel(image);
    return label !== undefined && exists?.(label) ? label : undefined;
  };

  function readImage([where, given]: [string, unknown]): string {
    const entry = typeof given === 'string' ? { image: given } : given;
    if (!isObject(entry)) return fail(where, `a path or {"image": path} is needed, got ${show(given)}`);
    checkKeys(where, entry, IMAGE_KEYS);
    const image = file(typeof given === 'string' ? where : `${where}.image`, entry.image);
    const before = images.get(image);
    if (before) fail(where, `${image} is listed already, as ${before.where}; leave one of them out`);
    images.set(image, {
      where,
      label: optional(where, entry, 'label') ?? beside(image),
      mask: optional(where, entry, 'mask'),
      subject: text(`${where}.subject`, entry.subject),
    });
    return image;
  }

  function readPair([where, entry]: [string, unknown]): PairEntry {
    if (!isObject(entry)) return fail(where, `{"fixed": path, "moving": path} is needed, got ${show(entry)}`);
    checkKeys(where, entry, PAIR_KEYS);
    const [fixed, moving] = [file(`${where}.fixed`, entry.fixed), file(`${where}.moving`, entry.moving)];
    if (fixed === moving) fail(where, `fixed and moving are the same file, ${fixed}`);
    const fixedLabel = optional(where, entry, 'fixedLabel') ?? images.get(fixed)?.label ?? beside(fixed);
    const movingLabel = optional(where, entry, 'movingLabel') ?? images.get(moving)?.label ?? beside(moving);
    if (!fixedLabel !== !movingLabel && (entry.fixedLabel ?? entry.movingLabel) !== undefined)
      fail(where, `the ${fixedLabel ? 'moving' : 'fixed'} image has no label map: Dice needs both; name it, or leave out the other`);
    return {
      where,
      name: text(`${where}.name`, entry.name),
      fixed,
      moving,
      ...(fixedLabel && movingLabel && { fixedLabel, movingLabel }),
      fixedMask: optional(where, entry, 'fixedMask') ?? images.get(fixed)?.mask,
      movingMask: optional(where, entry, 'movingMask') ?? images.get(moving)?.mask,
      landmarks: optional(where, entry, 'landmarks'),
      initial: optional(where, entry, 'initial'),
    };
  }

  return { images, readImage, readPair };
}
