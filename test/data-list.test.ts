// Data lists: the forms that are read, and every refusal with its place.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pairsOf, parseDataList, subjectsOf } from '../src/io/data-list.ts';
import { resolvePath } from '../src/io/data-path.ts';
import { readDataList } from '../src/io/files.ts';
import { messageOf } from './io-make-nifti.ts';

const parse = (list: unknown) => parseDataList('d/l.json', typeof list === 'string' ? list : JSON.stringify(list));

test('own form: strings and objects, absolute paths, labels and masks looked up or named', () => {
  const list = parse({
    name: 'brains',
    modality: 'MRI',
    labels: [2, 3],
    training: ['a.nii.gz', { image: './sub/../b.nii', label: 'b_seg.nii', mask: '/m/b.nii', subject: 'B' }],
    images: [
      { image: 'c.nii', label: 'c_seg.nii', mask: 'c_mask.nii' },
      { image: 'e.nii', label: 'e_seg.nii' },
    ],
    validation: [
      { fixed: 'c.nii', moving: '/x/d.nii', movingLabel: 'd_seg.nii', landmarks: 'p.csv', initial: 'a.txt' },
      { name: 'second', fixed: 'c.nii', moving: 'f.nii' },
    ],
    test: [{ fixed: 'e.nii', moving: 'b.nii' }, 'g.nii'],
  });
  assert.equal(list, {
    path: 'd/l.json',
    name: 'brains',
    modality: 'mri',
    labels: [2, 3],
    subjects: [
      { id: 'a', image: 'd/a.nii.gz' },
      { id: 'B', image: 'd/b.nii', label: 'd/b_seg.nii', mask: '/m/b.nii' },
    ],
    trainingPairs: [],
    pairs: {
      validation: [
        {
          fixed: 'd/c.nii',
          moving: '/x/d.nii',
          fixedLabel: 'd/c_seg.nii',
          movingLabel: 'd/d_seg.nii',
          fixedMask: 'd/c_mask.nii',
          landmarks: 'd/p.csv',
          initial: 'd/a.txt',
          name: 'c/d',
        },
        { name: 'second', fixed: 'd/c.nii', moving: 'd/f.nii', fixedMask: 'd/c_mask.nii' }, // f has no labels, so there is no Dice
      ],
      test: [
        { fixed: 'd/e.nii', moving: 'd/b.nii', fixedLabel: 'd/e_seg.nii', movingLabel: 'd/b_seg.nii', movingMask: '/m/b.nii', name: 'e/b' },
      ],
    },
    heldBack: [],
  });
  assert.equal(pairsOf(list, 'test'), list.pairs.test);
  assert.equal(subjectsOf(list, 2), list.subjects);
});

/** As the organisers write them, in short. */
const image = (id: string) => `./imagesTr/NLST_${id}.nii.gz`;
const learn2reg = {
  name: 'NLST',
  release: '1',
  description: 'Subset',
  pairings: 'paired',
  provided_data: { 0: ['image', 'mask', 'keypoints'] },
  registration_direction: { fixed: 0, moving: 1 },
  modality: { 0: 'FBCT', 1: 'CBCT' },
  img_shift: { fixed: 'baseline', moving: 'followup' },
  labels: { 0: { 0: 'background', 1: 'lung', 5: 'heart' } },
  tensorImageSize: { 0: '3D' },
  tensorImageShape: { 0: [224, 192, 224] },
  numTraining: 4,
  numTest: 0,
  training: ['0001_0000', '0001_0001', '0002_0000', '0002_0001'].map((id) => ({
    image: image(id),
    label: image(id).replace('images', 'labels'),
    mask: image(id).replace('images', 'masks'),
    keypoints: `./keypointsTr/NLST_${id}.csv`,
    keypoints01: `./keypoints01Tr/NLST_${id}.nii.gz`,
  })),
  test: [] as unknown[],
  numPairedTraining: 2,
  training_paired_images: [
    { fixed: image('0001_0000'), moving: image('0001_0001') },
    { fixed: image('0002_0000'), moving: image('0002_0001') },
  ],
  numPairedTest: 0,
  test_paired_images: [],
  numRegistration_val: 1,
  registration_val: [{ fixed: image('0002_0000'), moving: image('0002_0001') }],
  registration_test: [] as unknown[],
};

test("Learn2Reg's own form: who validates is held back from the training, at all times", () => {
  const list = parse(learn2reg);
  assert.equal([list.name, list.modality, list.labels], ['NLST', 'ct', [1, 5]]);
  assert.equal(
    list.subjects.map(({ id, image }) => [id, image]),
    [
      ['NLST_0001', 'd/imagesTr/NLST_0001_0000.nii.gz'],
      ['NLST_0001', 'd/imagesTr/NLST_0001_0001.nii.gz'],
    ],
  );
  assert.equal(list.heldBack, ['NLST_0002']);
  assert.equal(
    list.trainingPairs.map(({ name }) => name),
    ['NLST_0001_0000/NLST_0001_0001'],
  );
  assert.equal(pairsOf(list, 'validation'), [
    {
      fixed: 'd/imagesTr/NLST_0002_0000.nii.gz',
      moving: 'd/imagesTr/NLST_0002_0001.nii.gz',
      fixedLabel: 'd/labelsTr/NLST_0002_0000.nii.gz',
      movingLabel: 'd/labelsTr/NLST_0002_0001.nii.gz',
      fixedMask: 'd/masksTr/NLST_0002_0000.nii.gz',
      movingMask: 'd/masksTr/NLST_0002_0001.nii.gz',
      name: 'NLST_0002_0000/NLST_0002_0001',
    },
  ]);
});

test('who is tested is held back as well, and every training pair that one of them is in; a pair has the mask that it names', () => {
  const scan = (id: string) => ({ image: image(id), mask: image(id).replace('images', 'masks') });
  const pair = (fixed: string, moving: string) => ({ fixed: image(fixed), moving: image(moving) });
  const list = parse({
    ...learn2reg,
    training: ['0001_0000', '0001_0001', '0002_0000', '0002_0001', '0003_0000', '0003_0001'].map(scan),
    training_paired_images: [pair('0001_0000', '0001_0001'), pair('0001_0000', '0002_0001'), pair('0003_0000', '0001_0001')],
    registration_test: [pair('0003_0000', '0003_0001')],
  });
  assert.equal([...new Set(list.subjects.map(({ id }) => id))], ['NLST_0001']);
  assert.equal(list.heldBack, ['NLST_0002', 'NLST_0003']);
  assert.equal(
    list.trainingPairs.map(({ name }) => name),
    ['NLST_0001_0000/NLST_0001_0001'],
  );
  const [own] = parse({
    images: [{ image: 'c.nii', mask: 'c_mask.nii' }],
    validation: [{ fixed: 'c.nii', moving: 'd.nii', fixedMask: 'own.nii' }],
  }).pairs.validation;
  assert.is(own.fixedMask, 'd/own.nii');
});

test('a folder for each person: the folder is the name', () => {
  const list = parse({
    training: ['s1/norm.nii.gz', 's2/norm.nii.gz'],
    validation: [{ fixed: 's3/norm.nii.gz', moving: 's4/norm.nii.gz' }],
  });
  assert.equal([list.subjects.map(({ id }) => id), list.pairs.validation[0].name, list.name], [['s1', 's2'], 's3/s4', 'l']);
});

test('frames of a 4-D file are images of one person', async () => {
  const pair = { fixed: 'heart.nii.gz[0]', moving: 'heart.nii.gz[9]' };
  assert.equal(parse({ validation: [pair] }).pairs.validation, [
    { fixed: 'd/heart.nii.gz[0]', moving: 'd/heart.nii.gz[9]', name: 'heart/heart' },
  ]);
  assert.match(
    await messageOf(() => parse({ training: ['heart.nii.gz[3]', 'a.nii'], validation: [pair] })),
    /validation\[0\]: heart is in the training too, as training\[0\]/,
  );
});

test('modality and labels as they are written', () => {
  const facts = (more: object) => {
    const { modality, labels } = parse({ training: ['a.nii'], ...more });
    return [modality, labels];
  };
  assert.equal(facts({}), [undefined, undefined]);
  assert.equal(facts({ modality: { 0: 'MR', 1: 'CT' }, labels: {} }), [undefined, undefined]);
  assert.equal(facts({ modality: { 0: 'MR-T1' }, labels: { 0: 'background', 2: 'a', 41: 'b' } }), ['mri', [2, 41]]);
  assert.equal(facts({ modality: { 0: 'T1w' }, labels: { 1: { 0: 'a' }, 2: { 0: 'b' } } }), ['mri', [1, 2]]);
});

test('paths', () => {
  for (const [file, path, expected] of [
    ['l.json', 'a.nii', 'a.nii'],
    ['l.json', './x/../a.nii', 'a.nii'],
    ['./d/l.json', 'a.nii', 'd/a.nii'],
    ['../l.json', '../a.nii', '../../a.nii'],
    ['/d/l.json', 'x//a.nii', '/d/x/a.nii'],
    ['d/l.json', '/x/./a.nii', '/x/a.nii'],
    ['d/l.json', 'C:\\x\\a.nii', 'C:/x/a.nii'],
  ])
    assert.is(resolvePath(file, path), expected);
});

const pair = { fixed: 'a.nii', moving: 'b.nii' };
const BAD: [list: unknown, message: RegExp][] = [
  ['{', /^d\/l\.json: no JSON: /],
  [[], /^d\/l\.json: no data list: a JSON object/],
  ['{"training": ["a.nii"], "training": []}', /^d\/l\.json: one object has "training" twice/],
  [{}, /^d\/l\.json: neither images in "training" nor pairs/],
  [{ training: [], validation: [] }, /neither images/],
  [{ training: 'a.nii' }, /^d\/l\.json: training: "a\.nii" is no list$/],
  [{ training: [3] }, /training\[0\]: a path or \{"image": path\} is needed, got 3/],
  [{ training: ['a.nii', ''] }, /training\[1\]: the path of a file is needed, got ""/],
  [{ training: [{ label: 'a.nii' }] }, /training\[0\]\.image: the path of a file is needed, got nothing/],
  [{ training: [{ image: 'a.nii', label: 1 }] }, /training\[0\]\.label: the path of a file is needed, got 1/],
  [{ training: [{ image: 'a.nii', lable: 'b.nii' }] }, /training\[0\]: unknown key "lable"; there are image, label, mask, subject/],
  [{ training: [{ image: 'a.nii', subject: 3 }] }, /training\[0\]\.subject: a name is needed, got 3/],
  [{ training: ['a.nii', './a.nii'] }, /training\[1\]: d\/a\.nii is listed already, as training\[0\]/],
  [{ training: ['a.nii'], images: ['a.nii'] }, /images\[0\]: d\/a\.nii is listed already/],
  [{ training: ['a.nii'], validaton: [pair] }, /validaton: an unknown split; there are training, test, images, .*validation/],
  [{ training: ['a.nii'], train: [{ image: 'b.nii' }] }, /train: an unknown split/],
  [{ validation: ['a.nii'] }, /validation\[0\]: \{"fixed": path, "moving": path\} is needed, got "a\.nii"/],
  [{ validation: [{ fixed: 'a.nii' }] }, /validation\[0\]\.moving: the path of a file is needed, got nothing/],
  [{ validation: [{ ...pair, fixedSeg: 'a.nii' }] }, /validation\[0\]: unknown key "fixedSeg"; there are fixed, moving, name, fixedLabel/],
  [{ validation: [{ fixed: 'a.nii', moving: './a.nii' }] }, /fixed and moving are the same file, d\/a\.nii/],
  [{ validation: [{ ...pair, fixedLabel: 'c.nii' }] }, /validation\[0\]: the moving image has no label map: Dice needs both/],
  [{ validation: [{ ...pair, name: 3 }] }, /validation\[0\]\.name: a name is needed, got 3/],
  [{ validation: [pair, pair] }, /validation\[1\]: the pair a\/b is listed already, as validation\[0\]/],
  [{ validation: [pair], registration_val: [pair] }, /validation: registration_val lists pairs for it too; keep one/],
  [{ training: ['x/b.nii'], validation: [pair] }, /validation\[0\]: b is in the training too, as training\[0\]; .*"subject"/],
  [{ training: [{ image: 'c.nii', subject: 'a' }], validation: [pair] }, /validation\[0\]: a is in the training too/],
  [
    { training: ['b.nii'], validation: [{ fixed: 'a.nii', moving: 'c.nii' }], test: [pair] },
    /test\[0\]: nobody in it is new: a and b are in validation\[0\] and training\[0\]/,
  ],
  [{ training: ['a.nii'], modality: { 0: 'US' } }, /^d\/l\.json: modality: "US" is neither MR nor CT; leave/],
  [{ training: ['a.nii'], labels: '1' }, /labels: a list of label values is needed, got "1"/],
  [{ training: ['a.nii'], labels: [1, 2.5] }, /labels: labels are whole numbers, got 2\.5/],
  [{ training: ['a.nii'], labels: { white: 2 } }, /labels: labels are whole numbers, got "white"/],
];
for (const [list, message] of BAD)
  test(`refused: ${typeof list === 'string' ? list : JSON.stringify(list)}`, async () => {
    assert.match(await messageOf(() => parse(list)), message);
  });

test('two people of one name are told apart by "subject"', () => {
  const list = parse({ training: [{ image: 'x/b.nii', subject: 'x/b' }], validation: [pair] });
  assert.equal(list.subjects[0].id, 'x/b');
});

test('splits: unknown and empty ones are refused with what to do', async () => {
  const list = parse({ validation: [pair] });
  assert.match(await messageOf(() => pairsOf(list, 'val')), /^d\/l\.json: there is no split val; there are validation, test$/);
  assert.match(
    await messageOf(() => pairsOf(list, 'test')),
    /^d\/l\.json: no pairs for test; list them as .*, or take the split validation$/,
  );
  assert.match(await messageOf(() => subjectsOf(list)), /^d\/l\.json: training: 0 images, at least 1 needed; list them as/);
  assert.match(
    await messageOf(() => subjectsOf(parse({ ...learn2reg, training: learn2reg.training.slice(2) }))),
    /0 images \(1 held back for validation and test\)/,
  );
});

test('from a file: every path exists, and labels in the folder beside the images are found', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'deqreg-list-'));
  try {
    for (const each of ['imagesTr', 'labelsTr']) await mkdir(join(folder, each));
    for (const file of ['imagesTr/a.nii', 'imagesTr/b.nii', 'labelsTr/b.nii', 'imagesTr/c.nii', 'labelsTr/c.nii'])
      await writeFile(join(folder, file), ' ');
    const list = async (json: unknown) => {
      await writeFile(join(folder, 'l.json'), `\uFEFF${JSON.stringify(json)}`);
      return readDataList(join(folder, 'l.json'));
    };
    const { subjects, pairs } = await list({
      training: ['imagesTr/a.nii'],
      validation: [{ fixed: 'imagesTr/b.nii', moving: 'imagesTr/c.nii' }],
    });
    assert.equal(subjects, [{ id: 'a', image: join(folder, 'imagesTr/a.nii') }]);
    assert.is(pairs.validation[0].movingLabel, join(folder, 'labelsTr/c.nii'));
    assert.match(
      await messageOf(() => list({ training: [{ image: 'imagesTr/a.nii', mask: 'm.nii' }] })),
      /l\.json: training\[0\]\.mask: .*\/m\.nii does not exist; paths are relative to the folder of the list$/,
    );
    assert.match(await messageOf(() => readDataList(join(folder, 'none.json'))), /none\.json: no such file/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.run();
