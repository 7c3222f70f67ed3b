// What the command refuses: one line on stderr that names the option or file, the right exit code, nothing left behind.
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deqreg } from './cli-run.ts';
import { at } from './root.ts';
import { makeNifti, random, type MakeNifti } from './io-make-nifti.ts';

/** Loaded before the command: the device is lost at its fifth submission, as when a driver crashes in the middle of a registration. */
const LOSE = `import { globals } from ${JSON.stringify(pathToFileURL(at('node_modules/webgpu/index.js')).href)};
const { requestDevice } = globals.GPUAdapter.prototype, { submit } = globals.GPUQueue.prototype;
let device, submits = 0;
globals.GPUAdapter.prototype.requestDevice = async function (...args) {
  return (device = await requestDevice.apply(this, args));
};
globals.GPUQueue.prototype.submit = function (...args) {
  submit.apply(this, args);
  if (++submits === 5) device.destroy();
};`;

let folder = '';
let files: string[] = [];

const SIZE = [16, 16, 16];
const next = random(7);
const noise = Array.from({ length: 4096 }, () => 1 + Math.floor(200 * next()));
const labels = Array.from({ length: 4096 }, (_, v) => v % 3);
const bytes = (options: MakeNifti) => new Uint8Array(makeNifti({ dim: SIZE, values: noise, ...options }).header);
const noSform = { code: 0, rows: Array(12).fill(0) };
const far = { code: 1, rows: [1, 0, 0, 500, 0, 1, 0, 0, 0, 0, 1, 0] };
const shifted = { code: 1, rows: [1, 0, 0, 3, 0, 1, 0, 0, 0, 0, 1, 0] };

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'deqreg-cli-'));
  const good = gzipSync(bytes({}));
  const made: Record<string, Uint8Array | string> = {
    'good.nii.gz': good,
    'text.nii': 'not an image at all '.repeat(30),
    'empty.nii': '',
    'cut.nii.gz': good.subarray(0, good.length / 2),
    'short.nii': bytes({}).subarray(0, 2000),
    'frames.nii': bytes({ dim: [16, 16, 4, 4] }),
    'rgb.nii': bytes({ datatype: 128 }),
    'nan.nii': bytes({ dtype: 'float32', values: noise.map(() => NaN) }),
    'constant.nii': bytes({ values: noise.map(() => 7) }),
    'far.nii': bytes({ sform: far }),
    'seg.nii': bytes({ values: labels }),
    'seg_small.nii': bytes({ dim: [16, 16, 15], values: labels.slice(0, 3840) }),
    'seg_shifted.nii': bytes({ values: labels, sform: shifted }),
    'seg_other.nii': bytes({ values: labels.map((label) => label && label + 10) }),
    'seg_float.nii': bytes({ dtype: 'float32', values: labels.map((label) => label + 0.5) }),
    'seg_between.nii': bytes({ dtype: 'float32', values: labels.map((label, v) => label + (v === 9 ? 0.002 : 0)) }),
    'field_nan.nii': bytes({ dim: [16, 16, 16, 1, 3], dtype: 'float32', intent: 1007, values: Array(3 * 4096).fill(NaN) }),
    'seg_large.nii': bytes({ dtype: 'uint32', values: labels.map((label) => label && 312782546 + 4 * label) }),
    'spm.nii': bytes({ dim: [16, 16, 16, 1, 3], dtype: 'float32', intent: 1007, intentName: 'Mapping', values: Array(3 * 4096).fill(1) }),
    'negative.nii': bytes({ dim: [16, -16, 16] }),
    'zero.nii': bytes({ dim: [16, 0, 16] }),
    'huge.nii': bytes({ dim: [32767, 32767, 32767] }),
    'large.nii': bytes({ dim: [1200, 1200, 1200] }),
    'overflow.nii': bytes({ version: 2, dim: [2 ** 62, 2 ** 62, 4] }),
    'ndim.nii': bytes({ dim0: 9 }),
    'offset.nii': bytes({ declared: 100 }),
    'offset_far.nii': bytes({ declared: 1e9 }),
    'offset_negative.nii': bytes({ declared: -352 }),
    'affine_nan.nii': bytes({ sform: { code: 1, rows: [NaN, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] } }),
    'singular.nii': bytes({ sform: { code: 1, rows: [1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] } }),
    'spacing.nii': bytes({ sform: noSform, pixdim: [1, 1, 0, 1] }),
    'quaternion.nii': bytes({ sform: noSform, qform: { code: 1, b: 2, c: 0, d: 0, x: 0, y: 0, z: 0 } }),
    'complex.nii': bytes({ datatype: 32 }),
    'rgba.nii': bytes({ datatype: 2304 }),
    'type.nii': bytes({ datatype: 3 }),
    'slice.nii': bytes({ dim: [64, 64] }),
    'inf.nii': bytes({ dtype: 'float32', values: noise.map((value, v) => (v === 5 ? Infinity : value)) }),
    'slope.nii': bytes({ dtype: 'int16', slope: 3e38 }),
    'bright.nii': bytes({ dtype: 'int16', values: noise.map((value) => value + 2000) }),
    'zeros.nii': bytes({ values: noise.map(() => 0) }),
    'voxel.nii': bytes({ values: noise.map((_, v) => Number(v === 1911)) }),
    'nothing.csv': '',
    'header.csv': 'i1,j1,k1,i2,j2,k2\n',
    'five.csv': '1,2,3,4,5\n',
    'infinite.csv': '1,2,3,4,5,Infinity\n',
    'lose.mjs': LOSE,
    'outside.csv': 'i1,j1,k1,i2,j2,k2\n1,2,3,1,2,3\n1,2,3,1,2,30\n',
    'broken.csv': 'i1,j1,k1,i2,j2,k2\n1,2,3,1,two,3\n',
    plain: 'a file, not a folder',
  };
  await Promise.all(Object.entries(made).map(([name, content]) => writeFile(join(folder, name), content)));
  files = (await readdir(folder)).sort();
});
test.after(() => rm(folder, { recursive: true }));

/** Runs the command and checks everything but the message's end. */
async function refused(code: number, args: string, message: string | RegExp): Promise<void> {
  const ran = await deqreg(folder, args.split(' ').filter(Boolean));
  const what = `deqreg ${args}\n${ran.stderr}`;
  if (typeof message === 'string') assert.is(ran.stderr, `deqreg: ${message}\n`, what);
  else assert.match(ran.stderr, new RegExp(`^deqreg: ${message.source}[^\n]*\n$`), what);
  assert.is(ran.code, code, what);
  assert.is(ran.stdout, '', what);
  assert.equal((await readdir(folder)).sort(), files, what);
}

const pair = '--fixed good.nii.gz --moving good.nii.gz';

const segs = (fixed: string, moving: string) => `register ${pair} --fixed-seg ${fixed} --moving-seg ${moving} --out o`;
const wrongUsage: [string, string | RegExp][] = [
  ['', 'no command; deqreg --help lists them'],
  [
    'align',
    'unknown command align; there are register, evaluate, measure, apply, jacobian, invert, compose, convert, points, models, phantom, page, train, plan, train-step, info, setup, quickstart',
  ],
  ['register --fixed good.nii.gz --out o', '--moving FILE is missing'],
  [`register ${pair}`, '--out DIR is missing'],
  [`register ${pair} --out o --lamda 1`, "unknown option '--lamda'; --help lists the options"],
  [`register ${pair} --out o extra.nii.gz`, "unexpected argument 'extra.nii.gz'; --help lists the options"],
  [`register ${pair} --out o --quiet=yes`, /option '--quiet' does not take an argument/],
  [`register ${pair} --out o --lambda`, /option '--lambda <value>' argument missing/],
  [`register ${pair} --out o --lambda abc`, '--lambda: not a number: abc'],
  [`register ${pair} --out o --lambda -1`, /--lambda must be between 0 and 50 voxel²/],
  [`register ${pair} --out o --lambda -.5,-1e3,1`, /--lambda must be between 0 and 50 voxel²/],
  [`register ${pair} --out o --levels 2,1 --iterations -3`, /--iterations must be whole numbers above 0/],
  ['train --demo --out o --seed -1', 'train: seed must be a whole number of at least 0, got -1'],
  [`register ${pair} --out o --quiet -1`, /unknown option '-1'/],
  [`${segs('seg.nii', 'seg.nii')} --labels 0,1`, '--labels: 0 is the background, which has no overlap to measure'],
  [`register ${pair} --out o --lambda 1e999`, '--lambda: not a number: 1e999'],
  [`register ${pair} --out o --lambda 1 --lambda 2`, '--lambda is given twice'],
  [`register ${pair} --out o --window 7.5`, '--window: not a whole number: 7.5'],
  [`register ${pair} --out o --window 8`, /--window must be an odd whole number/],
  [`register ${pair} --out o --levels 4,x`, '--levels: not a number: x'],
  [`register ${pair} --out o --levels 1,2`, /--levels must go from coarse to fine/],
  [`register ${pair} --out o --levels 2,1 --iterations 5,5,5`, /--iterations/],
  [`register ${pair} --out o --iterations 0`, /--iterations must be whole numbers above 0/],
  [`register ${pair} --out o --method newton`, '--method: newton is none of equilibrium, adam, deq'],
  [`register ${pair} --out o --fixed-seg seg.nii`, '--moving-seg FILE is missing: Dice needs both label maps'],
  [`register ${pair} --out o --labels 1`, '--labels needs --fixed-seg and --moving-seg'],
  ['apply --moving good.nii.gz --displacement good.nii.gz --out o.mha', '--out: o.mha: the name must end in .nii or .nii.gz'],
  [
    'apply --moving good.nii.gz --displacement good.nii.gz --out o.nii --interpolation cubic',
    '--interpolation: cubic is none of linear, nearest',
  ],
  ['phantom --out o --kind heart', '--kind: heart is none of brain, lung'],
  ['phantom --out o --size 40,48', '--size: three whole numbers W,H,D are needed, got 40,48'],
  ['phantom --out o --size 40,48,8', '--size: 40,48,8: at least 16 voxels along each axis are needed'],
  ['phantom --out o --size 3000,3000,3000', '--size: 3000,3000,3000: 27000000000 voxels; at most 2147483648 are supported'],
  ['phantom --out o --seed one', '--seed: not a number: one'],
  ['info now', "unexpected argument 'now'; --help lists the options"],
  ['setup now', "unexpected argument 'now'; --help lists the options"],
  ['quickstart --seed 2', "unknown option '--seed'; --help lists the options"],
];

test('wrong usage', async () => {
  for (const [args, message] of wrongUsage) await refused(2, args, message);
});

const bad = (file: string) => `register --fixed good.nii.gz --moving ${file} --out o`;
const failures: [string, string | RegExp][] = [
  ['register --fixed absent.nii.gz --moving good.nii.gz --out o', 'absent.nii.gz: no such file or folder'],
  [bad('.'), '.: is a directory'],
  [bad('text.nii'), /text\.nii: not a NIfTI file/],
  [bad('empty.nii'), 'empty.nii: empty file'],
  [bad('cut.nii.gz'), /cut\.nii\.gz: truncated gzip stream/],
  [bad('short.nii'), /short\.nii: truncated: /],
  [bad('frames.nii'), 'frames.nii: 4-D volume (4 frames of 16×16×4); one of them is needed: a path takes the first as frames.nii[0]'],
  [bad('rgb.nii'), 'rgb.nii: RGB voxels are not supported; convert to one real number a voxel'],
  [bad('nan.nii'), /nan\.nii: 4096 of 4096 voxels are NaN;/],
  [bad('constant.nii'), /constant\.nii: all 4096 voxels have the value 7/],
  [bad('far.nii'), /good\.nii\.gz, far\.nii: the volumes do not overlap: 0 % of the fixed grid/],
  [bad('negative.nii'), 'negative.nii: dimensions 16×-16×16 are not all positive'],
  [bad('zero.nii'), 'zero.nii: dimensions 16×0×16 are not all positive'],
  [bad('huge.nii'), /huge\.nii: 32767×32767×32767 = 35181150961663 voxels; at most/],
  [bad('large.nii'), /large\.nii: truncated: 4096 of 1728000000 bytes of voxels/],
  [bad('overflow.nii'), /overflow\.nii: .* voxels; at most 2147483648 are supported/],
  [bad('ndim.nii'), /ndim\.nii: dim\[0\] = 9;/],
  [bad('offset.nii'), /offset\.nii: vox_offset = 100;/],
  [bad('offset_far.nii'), /offset_far\.nii: truncated: 0 of 4096 bytes of voxels/],
  [bad('offset_negative.nii'), /offset_negative\.nii: vox_offset = -352;/],
  [bad('affine_nan.nii'), /affine_nan\.nii: sform: affine is not 12 finite numbers/],
  [bad('singular.nii'), /singular\.nii: sform: affine is singular/],
  [bad('spacing.nii'), 'spacing.nii: voxel size pixdim = 1, 0, 1 is not positive and finite'],
  [bad('quaternion.nii'), 'quaternion.nii: qform: quaternion 2, 0, 0 is longer than 1'],
  [bad('complex.nii'), /complex\.nii: complex64 voxels are not supported/],
  [bad('rgba.nii'), /rgba\.nii: RGBA voxels are not supported/],
  [bad('type.nii'), 'type.nii: unknown datatype code 3'],
  [bad('slice.nii'), 'slice.nii: 2-D image (64×64); a 3-D volume is needed, of one slice if need be'],
  [bad('inf.nii'), /inf\.nii: 1 of 4096 voxels are infinite;/],
  [bad('slope.nii'), /slope\.nii: \d+ of 4096 voxels are infinite;/],
  [`register ${pair} --out o --fixed-mask absent.nii`, 'absent.nii: no such file or folder'],
  [`register ${pair} --out o --fixed-mask zeros.nii`, 'zeros.nii: an empty mask: no voxel is above 0'],
  [`register ${pair} --out o --moving-mask zeros.nii`, 'zeros.nii: an empty mask: no voxel is above 0'],
  [`register ${pair} --out o --fixed-mask seg_small.nii`, 'seg_small.nii: 16×16×15 voxels, but its image good.nii.gz has 16×16×16'],
  [
    `register ${pair} --out o --moving-mask seg_shifted.nii`,
    'seg_shifted.nii: its affine puts voxels up to 3.00 mm from where its image good.nii.gz has them; where the voxels correspond, copy the header of the image (sform and qform), else resample it onto the image, by nearest neighbour',
  ],
  [`register ${pair} --out o --fixed-mask voxel.nii`, /good\.nii\.gz: all voxels inside its mask have the value/],
  [
    'register --fixed bright.nii --moving bright.nii --out o --modality ct',
    /modality ct: all values, 2001 to 2200, lie outside its window of -1024 to 300 HU/,
  ],
  [`register ${pair} --out o --landmarks nothing.csv`, 'nothing.csv: empty file'],
  [`register ${pair} --out o --landmarks header.csv`, /header\.csv: no landmarks; expected/],
  [`register ${pair} --out o --landmarks five.csv`, /five\.csv:1: 5 columns, expected 6/],
  [`register ${pair} --out o --landmarks infinite.csv`, 'infinite.csv:1: "Infinity" is not a number'],
  ['register --fixed nan.nii --moving good.nii.gz --out o', /nan\.nii: 4096 of 4096/],
  [segs('absent.nii', 'seg.nii'), 'absent.nii: no such file or folder'],
  [segs('seg.nii', 'seg_small.nii'), 'seg_small.nii: 16×16×15 voxels, but its image good.nii.gz has 16×16×16'],
  [
    segs('seg_shifted.nii', 'seg.nii'),
    'seg_shifted.nii: its affine puts voxels up to 3.00 mm from where its image good.nii.gz has them; where the voxels correspond, copy the header of the image (sform and qform), else resample it onto the image, by nearest neighbour',
  ],
  [
    segs('seg_large.nii', 'seg_large.nii'),
    /seg_large\.nii: voxel 1 has the label 312782560; labels of 16777216 and more cannot be told apart in float32: /,
  ],
  [segs('seg.nii', 'seg_float.nii'), /seg_float\.nii: not a label map: voxel 0 has the value 0\.5/],
  [segs('seg.nii', 'seg_between.nii'), /seg_between\.nii: not a label map: voxel 9 has the value 0\.002/],
  [segs('seg.nii', 'seg_other.nii'), /seg\.nii, seg_other\.nii: none in common/],
  [`${segs('seg.nii', 'seg.nii')} --labels 7`, /seg\.nii, seg\.nii: none in common .* wanted 7/],
  [`register ${pair} --out o --landmarks absent.csv`, 'absent.csv: no such file or folder'],
  [`register ${pair} --out o --landmarks broken.csv`, 'broken.csv:2: "two" is not a number'],
  [
    `register ${pair} --out o --landmarks outside.csv`,
    /outside\.csv: moving landmark 2 \(1, 2, 30\) lies outside the grid of 16×16×16 voxels/,
  ],
  [`register ${pair} --out plain`, 'plain: cannot write: a file of that name exists'],
  [`register ${pair} --out plain/o`, 'plain/o: cannot write: a part of the path is not a folder'],
  ['phantom --out plain --size 16,16,16', 'plain: cannot write: a file of that name exists'],
  ['apply --moving good.nii.gz --displacement good.nii.gz --out o.nii', /good\.nii\.gz: not a displacement field: dimensions 16×16×16/],
  [
    'apply --moving good.nii.gz --displacement spm.nii --out o.nii',
    /spm\.nii: not a displacement field in ITK's sense: SPM’s deformation, coordinates in RAS mm \(intent name Mapping\); export it/,
  ],
  ['apply --moving good.nii.gz --displacement field_nan.nii --out o.nii', /field_nan\.nii: 12288 of 12288 voxels are NaN/],
];

test('files that cannot be used', async () => {
  for (const [args, message] of failures) await refused(1, args, message);
});

if (process.platform === 'linux')
  test('a folder that cannot be made or written', async () => {
    await refused(1, `register ${pair} --out /proc/deqreg`, '/proc/deqreg: cannot write: no folder can be made there');
    await refused(1, `register ${pair} --out /dev/full`, '/dev/full: cannot write: a file of that name exists');
  });

/** Runs on a tmpfs of its own; false where none can be mounted. */
async function onTmpfs(options: string, work: (path: string) => Promise<void>): Promise<boolean> {
  const path = await mkdtemp(join(tmpdir(), 'deqreg-full-'));
  try {
    if (process.platform !== 'linux' || spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'none', path]).status !== 0) return false;
    try {
      await work(path);
      assert.equal(await readdir(path), []);
    } finally {
      spawnSync('umount', [path]);
    }
    return true;
  } finally {
    await rm(path, { recursive: true });
  }
}

test('a full disk and a read-only one: the file is named, nothing is left', async () => {
  const mounted =
    (await onTmpfs('size=16k', async (path) => {
      const { code, stdout, stderr } = await deqreg(folder, [
        'register',
        '--fixed',
        'good.nii.gz',
        '--moving',
        'good.nii.gz',
        '--out',
        join(path, 'o'),
        '--iterations',
        '1',
        '--quiet',
      ]);
      assert.equal([code, stdout], [1, ''], stderr);
      assert.match(stderr, /^deqreg: [^\n]*deqreg-full-[^\n]*\/o\/\w+\.(nii\.gz|html|json): cannot write: no space left on the device\n$/);
    })) &&
    (await onTmpfs('ro', (path) =>
      refused(1, `register ${pair} --out ${path}/o`, new RegExp(`${path}/o: cannot write: read-only file system`)),
    ));
  if (!mounted) console.log('skipped: no tmpfs can be mounted here');
});

test('a device that is lost in the middle', async () => {
  const { code, stdout, stderr } = await deqreg(folder, `register ${pair} --out o --tolerance 0 --iterations 5000 --quiet`.split(' '), {
    env: { NODE_OPTIONS: `--import ${pathToFileURL(join(folder, 'lose.mjs')).href}` },
  });
  assert.equal([code, stdout], [1, ''], stderr);
  assert.match(stderr, /^deqreg: the GPU device was lost: [^\n]*; run again, or choose another adapter\n$/);
  assert.equal((await readdir(folder)).sort(), files);
});

test('a size beyond the limits of the adapter: need, limit and remedy', async () => {
  const { maxStorageBufferBindingSize: most } = JSON.parse((await deqreg(folder, ['info', '--json'])).stdout).adapters[0].limits;
  if (most > 2 ** 28) return void console.log(`skipped: this adapter binds ${most} bytes; a volume beyond that is too large for a test`);
  const dim = [512, 512, Math.ceil(most / 2 ** 20) + 1],
    header = new Uint8Array(makeNifti({ dim, values: [1] }).header);
  const voxels = Buffer.alloc(dim[0] * dim[1] * dim[2]);
  voxels[7] = 1;
  const path = join(folder, 'vast.nii');
  await writeFile(path, Buffer.concat([header.subarray(0, 352), voxels]));
  try {
    const { code, stdout, stderr } = await deqreg(folder, [
      'register',
      '--fixed',
      'vast.nii',
      '--moving',
      'vast.nii',
      '--out',
      'o',
      '--quiet',
      '--affine',
      'none',
    ]);
    assert.equal([code, stdout], [1, ''], stderr);
    assert.match(stderr, /^deqreg: [^\n]* needs [^\n]*MiB, but [^\n]* at most [^\n]* MiB; [^\n]+\n$/);
  } finally {
    await rm(path);
  }
  assert.equal((await readdir(folder)).sort(), files);
});

test.run();
