// What the command refuses: one line on stderr that names the option or file, the right exit code, nothing left behind.
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deqreg } from './cli-run.ts';
import { makeNifti, random, type MakeNifti } from './io-make-nifti.ts';

let folder = '';
let files: string[] = [];

const SIZE = [16, 16, 16];
const next = random(7);
const noise = Array.from({ length: 4096 }, () => 1 + Math.floor(200 * next()));
const labels = Array.from({ length: 4096 }, (_, v) => v % 3);
const bytes = (options: MakeNifti) => new Uint8Array(makeNifti({ dim: SIZE, values: noise, ...options }).header);
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
    'nan.nii': bytes({ dtype: 'float32', values: noise.map((value, v) => (v === 5 ? NaN : value)) }),
    'constant.nii': bytes({ values: noise.map(() => 7) }),
    'far.nii': bytes({ sform: far }),
    'seg.nii': bytes({ values: labels }),
    'seg_small.nii': bytes({ dim: [16, 16, 15], values: labels.slice(0, 3840) }),
    'seg_shifted.nii': bytes({ values: labels, sform: shifted }),
    'seg_other.nii': bytes({ values: labels.map((label) => label && label + 10) }),
    'seg_float.nii': bytes({ dtype: 'float32', values: labels.map((label) => label + 0.5) }),
    'field_nan.nii': bytes({ dim: [16, 16, 16, 1, 3], dtype: 'float32', intent: 1007, values: Array(3 * 4096).fill(NaN) }),
    'outside.csv': 'i,j,k,x,y,z\n1,2,3,1,2,3\n1,2,3,1,2,30\n',
    'broken.csv': 'i,j,k,x,y,z\n1,2,3,1,two,3\n',
    'plain': 'a file, not a folder',
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

const wrongUsage: [string, string | RegExp][] = [
  ['', 'no command; deqreg --help lists them'],
  ['align', 'unknown command align; there are register, apply, jacobian, invert, compose, convert, phantom, info, setup, quickstart'],
  ['register --fixed good.nii.gz --out o', '--moving FILE is missing'],
  [`register ${pair}`, '--out DIR is missing'],
  [`register ${pair} --out o --lamda 1`, "unknown option '--lamda'; --help lists the options"],
  [`register ${pair} --out o extra.nii.gz`, "unexpected argument 'extra.nii.gz'; --help lists the options"],
  [`register ${pair} --out o --quiet=yes`, /option '--quiet' does not take an argument/],
  [`register ${pair} --out o --lambda`, /option '--lambda <value>' argument missing/],
  [`register ${pair} --out o --lambda abc`, '--lambda: not a number: abc'],
  [`register ${pair} --out o --lambda 1e999`, '--lambda: not a number: 1e999'],
  [`register ${pair} --out o --lambda 1 --lambda 2`, '--lambda is given twice'],
  [`register ${pair} --out o --window 7.5`, '--window: not a whole number: 7.5'],
  [`register ${pair} --out o --window 8`, /--window must be an odd whole number/],
  [`register ${pair} --out o --levels 4,x`, '--levels: not a number: x'],
  [`register ${pair} --out o --levels 1,2`, /--levels must go from coarse to fine/],
  [`register ${pair} --out o --levels 2,1 --iterations 5,5,5`, /--iterations/],
  [`register ${pair} --out o --iterations 0`, /--iterations must be whole numbers above 0/],
  [`register ${pair} --out o --method newton`, '--method: newton is none of equilibrium, adam'],
  [`register ${pair} --out o --fixed-seg seg.nii`, '--moving-seg FILE is missing: Dice needs both label maps'],
  [`register ${pair} --out o --moving-seg seg.nii`, '--fixed-seg FILE is missing: Dice needs both label maps'],
  [`register ${pair} --out o --labels 1`, '--labels needs --fixed-seg and --moving-seg'],
  ['apply --moving good.nii.gz --displacement good.nii.gz --out o.mha', '--out: o.mha: the name must end in .nii or .nii.gz'],
  ['apply --moving good.nii.gz --displacement good.nii.gz --out o.nii --interpolation cubic', '--interpolation: cubic is none of linear, nearest'],
  ['phantom --out o --kind heart', '--kind: heart is none of brain, lung'],
  ['phantom --out o --size 40,48', '--size: three whole numbers W,H,D are needed, got 40,48'],
  ['phantom --out o --size 40,48,8', '--size: 40,48,8: at least 16 voxels along each axis are needed'],
  ['phantom --out o --seed one', '--seed: not a number: one'],
  ['info now', "unexpected argument 'now'; --help lists the options"],
  ['setup now', "unexpected argument 'now'; --help lists the options"],
  ['quickstart --seed 2', "unknown option '--seed'; --help lists the options"],
];

test('wrong usage', async () => {
  for (const [args, message] of wrongUsage) await refused(2, args, message);
});

const bad = (file: string) => `register --fixed good.nii.gz --moving ${file} --out o`;
const segs = (fixed: string, moving: string) => `register ${pair} --fixed-seg ${fixed} --moving-seg ${moving} --out o`;
const failures: [string, string | RegExp][] = [
  ['register --fixed absent.nii.gz --moving good.nii.gz --out o', 'absent.nii.gz: no such file or folder'],
  [bad('.'), '.: is a directory'],
  [bad('text.nii'), /text\.nii: not a NIfTI file/],
  [bad('empty.nii'), 'empty.nii: empty file'],
  [bad('cut.nii.gz'), /cut\.nii\.gz: truncated gzip stream/],
  [bad('short.nii'), /short\.nii: truncated: /],
  [bad('frames.nii'), 'frames.nii: 4-D volume (4 frames of 16×16×4); pass one 3-D frame'],
  [bad('rgb.nii'), 'rgb.nii: RGB voxels are not supported; convert to one real number a voxel'],
  [bad('nan.nii'), /nan\.nii: 1 of 4096 voxels are NaN or infinite/],
  [bad('constant.nii'), /constant\.nii: all 4096 voxels have the value 7/],
  [bad('far.nii'), /good\.nii\.gz, far\.nii: the volumes do not overlap: 0 % of the fixed grid/],
  ['register --fixed nan.nii --moving good.nii.gz --out o', /nan\.nii: 1 of 4096/],
  [segs('absent.nii', 'seg.nii'), 'absent.nii: no such file or folder'],
  [segs('seg.nii', 'seg_small.nii'), 'seg_small.nii: 16×16×15 voxels, but its image good.nii.gz has 16×16×16'],
  [segs('seg_shifted.nii', 'seg.nii'), 'seg_shifted.nii: its affine differs from that of its image good.nii.gz'],
  [segs('seg.nii', 'seg_float.nii'), /seg_float\.nii: not a label map: voxel 0 has the value 0\.5/],
  [segs('seg.nii', 'seg_other.nii'), /seg\.nii, seg_other\.nii: none in common/],
  [`${segs('seg.nii', 'seg.nii')} --labels 7`, /seg\.nii, seg\.nii: none in common .* wanted 7/],
  [`register ${pair} --out o --landmarks absent.csv`, 'absent.csv: no such file or folder'],
  [`register ${pair} --out o --landmarks broken.csv`, 'broken.csv:2: "two" is not a number'],
  [`register ${pair} --out o --landmarks outside.csv`, /outside\.csv: moving landmark 2 \(1, 2, 30\) lies outside the grid of 16×16×16 voxels/],
  [`register ${pair} --out plain`, 'plain: cannot write: a file of that name exists'],
  [`register ${pair} --out plain/o`, 'plain/o: cannot write: a part of the path is not a folder'],
  ['phantom --out plain --size 16,16,16', 'plain: cannot write: a file of that name exists'],
  ['apply --moving good.nii.gz --displacement good.nii.gz --out o.nii', /good\.nii\.gz: not a displacement field: dimensions 16×16×16/],
  ['apply --moving good.nii.gz --displacement field_nan.nii --out o.nii', /field_nan\.nii: 12288 of 12288 voxels are NaN/],
];

test('files that cannot be used', async () => {
  for (const [args, message] of failures) await refused(1, args, message);
});

test('help and version', async () => {
  const overview = await deqreg(folder, ['--help']);
  assert.equal([overview.code, overview.stderr], [0, '']);
  for (const name of ['register', 'apply', 'jacobian', 'invert', 'compose', 'convert', 'phantom', 'info', 'setup', 'quickstart']) {
    assert.match(overview.stdout, new RegExp(`^  ${name} `, 'm'));
    const help = await deqreg(folder, [name, '--help']);
    assert.equal([help.code, help.stderr], [0, '']);
    assert.match(help.stdout, new RegExp(`^usage: deqreg ${name}`));
  }
  const version = await deqreg(folder, ['--version']);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});

test.run();
