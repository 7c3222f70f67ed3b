// A data list: which images train, and which pairs validate and test. JSON in the form of Learn2Reg's dataset files; paths are relative
// to the folder of the list.
//   name, modality {"0": "MR"}, labels [2, 3]
//   training: ["a.nii.gz", {image, label, mask, subject}]; images: the same, of images that only stand in pairs
//   validation, test: [{fixed, moving, name, fixedLabel, movingLabel, fixedMask, movingMask, landmarks, initial}]
// In Learn2Reg's own lists the pairs are named registration_val and registration_test, their images stand in `training` with the others,
// and `test` names single images.
import { entriesOf, type Exists, type Fail, entryReader, isPair, type PairEntry } from './data-entries.ts';
import { labelsOf, modalityOf } from './data-facts.ts';
import { frameIn, nameOf, parentOf } from './data-path.ts';
import { isObject, repeatedKey } from './json.ts';

export interface DataSubject {
  /** Of the person: two images of one person, at two times, have the same. */
  id: string;
  image: string;
  label?: string;
  mask?: string;
}

export interface DataPair {
  /** No other pair for validation or test has it. */
  name: string;
  fixed: string;
  moving: string;
  /** Label maps: both or none. */
  fixedLabel?: string;
  movingLabel?: string;
  fixedMask?: string;
  movingMask?: string;
  landmarks?: string;
  /** An affine that the pair's registration starts from. */
  initial?: string;
}

export const dataSplits = ['validation', 'test'] as const;
export type DataSplit = (typeof dataSplits)[number];

export interface DataList {
  /** The list's own file. The other paths are absolute, or start where this one does. */
  path: string;
  name: string;
  /** Where it is one for all images. */
  modality?: 'mri' | 'ct';
  /** What the list says of the data's licence (Learn2Reg's `licence`). */
  licence?: string;
  /** Labels that count. */
  labels?: number[];
  /** Images for training; no pair for validation has one of these people. */
  subjects: DataSubject[];
  /** Pairs that are trained on, where the list prescribes them (Learn2Reg's `training_paired_images`); else any two of `subjects`. */
  trainingPairs: DataPair[];
  pairs: Record<DataSplit, DataPair[]>;
  /** Ids that `training` has, but Learn2Reg's pairs for validation or test hold back: they are not among `subjects`. */
  heldBack: string[];
}

/** The pairs of a split. Throws when it is unknown or empty. */
export function pairsOf({ path, pairs }: DataList, split: string): DataPair[] {
  const found = dataSplits.find((one) => one === split);
  if (!found) throw new Error(`${path}: there is no split ${split}; there are ${dataSplits.join(', ')}`);
  if (pairs[found].length) return pairs[found];
  const other = dataSplits.find((one) => pairs[one].length);
  const advice = `list them as "${found}": [{"fixed": "a.nii.gz", "moving": "b.nii.gz"}]${other ? `, or take the split ${other}` : ''}`;
  throw new Error(`${path}: no pairs for ${found}; ${advice}`);
}

/** The images to train on. Throws when there are fewer than `least`. */
export function subjectsOf({ path, subjects, heldBack }: DataList, least = 1): DataSubject[] {
  if (subjects.length >= least) return subjects;
  const held = heldBack.length ? ` (${heldBack.length} held back for validation and test)` : '';
  throw new Error(
    `${path}: training: ${subjects.length} images${held}, at least ${least} needed; list them as "training": [{"image": "a.nii.gz"}]`,
  );
}

const IMAGE_LISTS = ['training', 'test', 'images', 'validation_images'];
const PAIR_LISTS = ['validation', 'test', 'registration_val', 'registration_test', 'training_paired_images', 'test_paired_images'];
/** A split's own list, and Learn2Reg's. */
const SPLIT_LISTS = { validation: ['validation', 'registration_val'], test: ['test', 'registration_test'] } as const;

/**
 * The list in a JSON text; `path` is its file. With `exists`, every file must be there, and an image in a folder imagesX without a label
 * map has the file of its name in the folder labelsX beside it, where there is one. Throws `file: place in the JSON: what and what to do`.
 */
export function parseDataList(path: string, text: string, exists?: Exists): DataList {
  const fail: Fail = (where, what) => {
    throw new Error(`${path}: ${where ? `${where}: ` : ''}${what}`);
  };
  const json = parseObject(text, fail);
  const { images, readImage, readPair } = entryReader(path, fail, exists);
  const [training] = IMAGE_LISTS.map((key) =>
    entriesOf(json, key, fail)
      .filter(([, entry]) => !(key === 'test' && isPair(entry)))
      .map(readImage),
  );
  const pairsIn = (key: string) =>
    entriesOf(json, key, fail)
      .filter(([, entry]) => key !== 'test' || isPair(entry))
      .map(readPair);
  const split = (name: DataSplit) => {
    const [own, theirs] = SPLIT_LISTS[name].map(pairsIn);
    if (own.length && theirs.length) fail(name, `${SPLIT_LISTS[name][1]} lists pairs for it too; keep one of the two`);
    return { pairs: [...own, ...theirs], theirs };
  };
  const [validation, test] = dataSplits.map(split) as [ReturnType<typeof split>, ReturnType<typeof split>];
  const prescribed = pairsIn('training_paired_images');
  const placed = prescribed.find(({ initial }) => initial);
  if (placed) fail(placed.where, 'an initial affine does not apply to pairs that are trained on: their images share one grid as they are');
  const everyPair = [...validation.pairs, ...test.pairs];
  if (!training.length && !everyPair.length) fail('', 'neither images in "training" nor pairs in "validation" or "test"');

  const inPairs = [...everyPair, ...prescribed].flatMap(peopleOf);
  const nameFor = namer([...images.keys(), ...inPairs]);
  const idOf = (image: string) => images.get(image)?.subject ?? withoutTime(nameFor(image));
  const named = ({ where, ...pair }: PairEntry): DataPair => {
    const name = pair.name ?? `${nameFor(pair.fixed)}/${nameFor(pair.moving)}`;
    return Object.fromEntries(Object.entries({ ...pair, name }).filter(([, value]) => value !== undefined)) as unknown as DataPair;
  };
  refuseRepeatedNames(everyPair, named, fail);

  const held = new Set([...validation.theirs, ...test.theirs].flatMap(peopleOf).map(idOf));
  const subjects = training
    .map((image): DataSubject => {
      const { label, mask } = images.get(image)!;
      return { id: idOf(image), image, ...(label && { label }), ...(mask && { mask }) };
    })
    .filter(({ id }) => !held.has(id));
  refuseLeaks(subjects, validation.pairs, test.pairs, { idOf, whereOf: (image) => images.get(image)!.where }, fail);

  const facts = {
    modality: modalityOf(json.modality, fail),
    labels: labelsOf(json.labels, json.modality, fail),
    licence: [json.licence, json.license].find((text) => typeof text === 'string') as string | undefined,
  };
  return {
    path,
    name: typeof json.name === 'string' && json.name.trim() ? json.name : nameOf(path),
    ...Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined)),
    subjects,
    trainingPairs: prescribed.filter((pair) => !peopleOf(pair).some((image) => held.has(idOf(image)))).map(named),
    pairs: { validation: validation.pairs.map(named), test: test.pairs.map(named) },
    heldBack: [...new Set(training.map(idOf))].filter((id) => held.has(id)),
  };
}

const peopleOf = ({ fixed, moving }: { fixed: string; moving: string }) => [fixed, moving];

/** The object of a JSON text. Refuses lists of images or pairs under a name that is not known: they would be passed over. */
function parseObject(text: string, fail: Fail): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    fail('', `no JSON: ${(error as Error).message}`);
  }
  if (!isObject(json)) return fail('', 'no data list: a JSON object {"training": […], "validation": […]} is needed');
  const twice = repeatedKey(text);
  if (twice !== undefined) fail('', `one object has ${JSON.stringify(twice)} twice; only the last would count`);
  const known = [...new Set([...IMAGE_LISTS, ...PAIR_LISTS])];
  for (const [key, value] of Object.entries(json))
    if (!known.includes(key) && Array.isArray(value) && value.some((entry) => isPair(entry) || (isObject(entry) && 'image' in entry)))
      fail(key, `an unknown split; there are ${known.join(', ')}`);
  return json;
}

/** Names of images: the file's, or the folder's where all files have one name, as in sub01/norm.nii.gz. */
function namer(images: string[]): (image: string) => string {
  const distinct = new Set(images.map((image) => frameIn(image).file));
  const alike = distinct.size > 1 && new Set([...distinct].map(nameOf)).size === 1;
  return alike ? parentOf : nameOf;
}

/** Learn2Reg's names end in _person_time, such as NLST_0001_0000. */
const withoutTime = (name: string) => name.replace(/^(.*_\d{4})_\d{4}$/, '$1');

function refuseRepeatedNames(pairs: PairEntry[], named: (pair: PairEntry) => DataPair, fail: Fail): void {
  const before = new Map<string, string>();
  for (const pair of pairs) {
    const { name } = named(pair);
    if (before.has(name))
      fail(pair.where, `the pair ${name} is listed already, as ${before.get(name)}; leave it out, or give it another "name"`);
    before.set(name, pair.where);
  }
}

/** People are split, not images: who trains does not validate, and of a test pair at least one person is new. */
function refuseLeaks(
  subjects: DataSubject[],
  validation: PairEntry[],
  test: PairEntry[],
  { idOf, whereOf }: { idOf: (image: string) => string; whereOf: (image: string) => string },
  fail: Fail,
): void {
  const trained = new Map(subjects.map(({ id, image }) => [id, whereOf(image)]));
  const remedy = 'leave it out of one of the two, or, if these are two people, give the images a "subject" each';
  for (const pair of validation)
    for (const id of peopleOf(pair).map(idOf))
      if (trained.has(id)) fail(pair.where, `${id} is in the training too, as ${trained.get(id)}; ${remedy}`);
  const validated = new Map(validation.flatMap((pair) => peopleOf(pair).map((image) => [idOf(image), pair.where])));
  for (const pair of test) {
    const seen = peopleOf(pair).map((image) => trained.get(idOf(image)) ?? validated.get(idOf(image)));
    if (seen.every((where) => where !== undefined))
      fail(
        pair.where,
        `nobody in it is new: ${peopleOf(pair).map(idOf).join(' and ')} are in ${seen.join(' and ')}; a test pair needs somebody who is in neither`,
      );
  }
}
