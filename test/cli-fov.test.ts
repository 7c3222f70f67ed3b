// Images of which one shows a part of the other, what lies outside it, and a folder that is written to twice.
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readVolume, writeNifti } from '../src/io/files.ts';
import { encodeDisplacement, encodeNifti } from '../src/io/nifti.ts';
import type { Grid } from '../src/io/volume.ts';
import { phantom } from '../src/register/phantom.ts';
import { deqreg } from './cli-run.ts';
import { browser, opened } from './pages.ts';

let folder = '';
const at = (...parts: string[]) => join(folder, ...parts);
const run = (args: string) => deqreg(folder, args.split(' '));

const { fixed, fixedSeg, moving: bent } = phantom('brain', [40, 44, 48], 1);
/** A corner of a volume from voxel `from` on, on its own grid, where the volume has it. */
function crop<T extends Grid & { data: Float32Array }>(whole: T, from: number, size: [number, number, number]): T {
  const [w, h, d] = size,
    [W, H] = whole.size;
  const data = Float32Array.from({ length: w * h * d }, (_, v) => {
    const [i, j, k] = [v % w, Math.floor(v / w) % h, Math.floor(v / (w * h))];
    return whole.data[((from + k) * H + from + j) * W + from + i];
  });
  const affine = whole.affine.map((x, n) =>
    n % 4 === 3 ? x + from * (whole.affine[n - 3] + whole.affine[n - 2] + whole.affine[n - 1]) : x,
  );
  return { ...whole, size, affine, data };
}
const still = encodeDisplacement({ ...fixed, data: new Float32Array(3 * fixed.data.length) });

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'deqreg-fov-'));
  await writeNifti(at('whole.nii'), encodeNifti({ ...fixed, dtype: 'uint8' }));
  await writeNifti(at('part.nii'), encodeNifti({ ...crop(fixed, 14, [14, 14, 14]), dtype: 'uint8' }));
  await writeNifti(at('labels.nii'), encodeNifti({ ...fixedSeg, dtype: 'int32' }));
  await writeNifti(at('half.nii'), encodeNifti({ ...crop(fixedSeg, 0, [20, 44, 48]), dtype: 'int32' }));
  await writeNifti(at('still.nii'), still);
});
test.after(() => rm(folder, { recursive: true }));

test('an image that lies inside the other is registered and warped, whichever of the two it is', async () => {
  for (const [a, b] of [
    ['whole', 'part'],
    ['part', 'whole'],
  ]) {
    const { code, stderr } = await run(`register --fixed ${a}.nii --moving ${b}.nii --out ${a} --levels 2 --iterations 2 --affine none`);
    assert.is(code, 0, stderr);
  }
  const { code, stderr } = await run('apply --moving part.nii --displacement whole/displacement.nii.gz --out warped.nii');
  assert.is(code, 0, stderr);
  const [part, warped, applied] = await Promise.all(['part.nii', 'whole/warped.nii.gz', 'warped.nii'].map((path) => readVolume(at(path))));
  const background = part.data.reduce((a, b) => Math.min(a, b));
  assert.ok(background > 0, 'the part has no background of its own');
  const n = warped.data.length;
  for (const v of [0, n - 1]) assert.equal([warped.data[v], applied.data[v]], [background, background]); // corners of the whole image
  assert.ok(warped.data.filter((value) => value === background).length > 0.9 * n);
  assert.ok(
    applied.data.every((value, v) => Math.abs(value - warped.data[v]) <= 1),
    'as register has it',
  );
});

test('apply, nearest: labels that float32 cannot tell apart are refused, whatever type holds them; those with a rounding error become whole', async () => {
  const { size, affine } = await readVolume(at('whole.nii'));
  const write = (name: string, value: (v: number) => number) => {
    const data = Float32Array.from({ length: size[0] * size[1] * size[2] }, (_, v) => value(v));
    return writeNifti(at(name), encodeNifti({ size, affine, data, dtype: 'float32' }));
  };
  await write('far.nii', (v) => (v % 2 ? 312782560 : 7));
  await write('rounded.nii', (v) => (v % 2 ? 3.0002 : 7));
  await write('map.nii', (v) => (v % 2 ? 0.25 : 7));
  const apply = (name: string) => run(`apply --moving ${name}.nii --displacement still.nii --out ${name}-out.nii --interpolation nearest`);
  const { code, stderr } = await apply('far');
  assert.is(code, 1);
  assert.match(stderr, /^deqreg: far\.nii: voxel 1 has the label 312782560; labels of 16777216 and more cannot be told apart/m);
  for (const [name, expected] of [
    ['rounded', 3],
    ['map', 0.25],
  ] as const) {
    assert.is((await apply(name)).code, 0);
    assert.equal([...new Set((await readVolume(at(`${name}-out.nii`))).data)].sort(), [expected, 7]);
  }
});

test('two frames of one 4-D file are registered as two files are', async () => {
  const [first, second] = [fixed, bent].map((volume) => encodeNifti({ ...volume, dtype: 'float32' }));
  const cine = new Uint8Array([...first, ...second.subarray(352)]);
  const header = new DataView(cine.buffer);
  header.setInt16(40, 4, true); // dim[0]
  header.setInt16(48, 2, true); // dim[4]
  await writeNifti(at('cine.nii.gz'), cine);
  await writeNifti(at('first.nii'), first);
  await writeNifti(at('second.nii'), second);
  for (const [a, b, out] of [
    ['cine.nii.gz[0]', 'cine.nii.gz[1]', 'frames'],
    ['first.nii', 'second.nii', 'files'],
  ]) {
    const { code, stderr } = await run(`register --fixed ${a} --moving ${b} --levels 2 --iterations 2 --affine none --out ${out}`);
    assert.is(code, 0, stderr);
  }
  const [frames, files] = await Promise.all(['frames', 'files'].map((out) => readVolume(at(out, 'warped.nii.gz'))));
  assert.equal(frames.data, files.data);
  const { code, stderr } = await run('register --fixed cine.nii.gz --moving first.nii --out none');
  assert.is(code, 1);
  assert.match(
    stderr,
    /cine\.nii\.gz: 4-D volume \(2 frames of 40×44×48\); one of them is needed: a path takes the first as cine\.nii\.gz\[0\]/,
  );
});

test('a moving image of scaled integers keeps its values', async () => {
  const bytes = encodeNifti({ ...fixed, data: fixed.data.map((x) => Math.round(x)), dtype: 'int16' });
  new DataView(bytes.buffer, bytes.byteOffset).setFloat32(112, 0.01, true); // scl_slope
  await writeNifti(at('scaled.nii'), bytes);
  const { code, stderr } = await run(
    'register --fixed whole.nii --moving scaled.nii --levels 2 --iterations 1 --affine none --no-report --out scaled',
  );
  assert.is(code, 0, stderr);
  const warped = await readVolume(at('scaled', 'warped.nii.gz'));
  assert.is(warped.dtype, 'float32');
  assert.ok(warped.data.some((x) => x % 1 > 0.05) && warped.data.every((x) => x < 3));
});

test('apply, nearest: labels as register warps them, 0 outside their map, in their own type', async () => {
  const { code, stderr } = await run('apply --moving half.nii --displacement still.nii --out out.nii --interpolation nearest');
  assert.is(code, 0, stderr);
  const { data, dtype } = await readVolume(at('out.nii'));
  assert.is(dtype, 'int32');
  assert.equal(
    data,
    fixedSeg.data.map((label, v) => (v % 40 < 20 ? label : 0)),
  );
});

test('a second run into a folder leaves nothing of the first one there', async () => {
  const register = 'register --fixed whole.nii --moving whole.nii --levels 2 --iterations 2 --out twice';
  const segs = '--fixed-seg labels.nii --moving-seg labels.nii';
  assert.is((await run(`${register} --affine rigid --inverse ${segs}`)).code, 0);
  assert.equal(
    (await readdir(at('twice'))).sort(),
    ['affine.txt', 'displacement.nii.gz', 'inverse_displacement.nii.gz', 'metrics.json', 'report.html', 'warped.nii.gz', 'warped_seg.nii.gz'], // prettier-ignore
  );
  await writeNifti(at('twice', 'mine.nii'), still);
  assert.is((await run(`${register} --affine none --no-report`)).code, 0);
  assert.equal((await readdir(at('twice'))).sort(), ['displacement.nii.gz', 'metrics.json', 'mine.nii', 'warped.nii.gz']);
});

test('a folder with files that no run has left, or with an input among them, is left alone', async () => {
  const register = (moving: string, out: string) =>
    run(`register --fixed whole.nii --moving ${moving} --levels 2 --iterations 2 --affine none --no-report --out ${out}`);
  await mkdir(at('own'));
  await writeFile(at('own', 'affine.txt'), 'mine');
  const foreign = await register('whole.nii', 'own');
  assert.is(foreign.code, 1);
  assert.match(foreign.stderr, /^deqreg: own: has affine\.txt, but no metrics\.json of deqreg: .*; choose another --out$/m);
  assert.equal([await readdir(at('own')), await readFile(at('own', 'affine.txt'), 'utf8')], [['affine.txt'], 'mine']);
  assert.is((await register('whole.nii', 'run')).code, 0);
  const replaced = await register('run/warped.nii.gz', 'run');
  assert.is(replaced.code, 2);
  assert.match(
    replaced.stderr,
    /^deqreg: run\/warped\.nii\.gz: is the moving volume of this run, which would replace it; choose another --out$/m,
  );
  assert.is((await register('whole.nii', 'run')).code, 0);
  assert.is((await run('register --fixed whole.nii --moving whole.nii --levels 2 --iterations 1 --affine rigid --out rigid')).code, 0);
  const restarted = await run(
    'register --fixed whole.nii --moving whole.nii --initial rigid/affine.txt --levels 2 --iterations 1 --out rigid',
  );
  assert.equal([restarted.code, /rigid\/affine\.txt: is the initial affine of this run/.test(restarted.stderr)], [2, true]);
  await mkdir(at('other'));
  await writeFile(at('other', 'metrics.json'), JSON.stringify({ version: '2.0', accuracy: 1 })); // of another program
  const others = await register('whole.nii', 'other');
  assert.is(others.code, 1);
  assert.match(others.stderr, /^deqreg: other: has metrics\.json, but no metrics\.json of deqreg: /m);
  await writeFile(at('own', 'landmarks.csv'), 'mine');
  await writeFile(at('own', 'evaluation.csv'), 'mine');
  await writeFile(at('list.json'), JSON.stringify({ validation: [{ fixed: 'whole.nii', moving: 'half.nii' }] }));
  const files = await readdir(at('own'));
  for (const [command, message] of [
    ['phantom --out own --size 16,16,16', /own: has landmarks\.csv, but no phantom\.json of deqreg: /],
    ['evaluate --data list.json --out own', /own: has evaluation\.csv, but no evaluation\.json of deqreg: /],
  ] as const) {
    const { code, stderr } = await run(command);
    assert.is(code, 1);
    assert.match(stderr, message);
  }
  assert.equal([await readdir(at('own')), await readFile(at('own', 'landmarks.csv'), 'utf8')], [files, 'mine']);
  for (let twice = 0; twice < 2; twice++) assert.is((await run('phantom --out made --size 16,16,16')).code, 0);
});

test('moving labels alone are warped, and measure nothing', async () => {
  const { code, stderr, stdout } = await run(
    'register --fixed whole.nii --moving whole.nii --levels 2 --iterations 2 --affine none --no-report --out atlas --moving-seg labels.nii',
  );
  assert.is(code, 0, stderr);
  assert.match(stdout, /files .*warped_seg\.nii\.gz/);
  assert.not.match(stdout, /Dice/);
  const [labels, warped] = await Promise.all([readVolume(at('labels.nii')), readVolume(at('atlas', 'warped_seg.nii.gz'))]);
  assert.equal(warped.data, labels.data);
});

test('a header without orientation, or with two of them, is told', async () => {
  const changed = (name: string, change: (header: DataView) => void) => {
    const bytes = encodeNifti({ ...fixed, dtype: 'uint8' });
    change(new DataView(bytes.buffer, bytes.byteOffset));
    return writeNifti(at(name), bytes);
  };
  await changed('bare.nii', (header) => [252, 254].forEach((code) => header.setInt16(code, 0, true)));
  await changed('two.nii', (header) => header.setFloat32(280 + 12, header.getFloat32(280 + 12, true) + 20, true)); // srow_x
  await changed('slant.nii', (header) =>
    [252, 280 + 4].forEach((at, n) => (n ? header.setFloat32(at, 1.5, true) : header.setInt16(at, 0, true))),
  );
  for (const [name, words] of [
    ['bare', 'its header has no orientation (sform_code and qform_code are 0)'],
    ['two', 'its sform and its qform put voxels up to 20.0 mm apart'],
    ['slant', 'its axes are not at right angles'],
  ] as const) {
    const { code, stderr, stdout } = await run(
      `register --fixed whole.nii --moving ${name}.nii --out ${name} --levels 2 --iterations 1 --affine none --no-report --json`,
    );
    assert.is(code, 0, stderr);
    assert.ok(stderr.includes(`deqreg: warning: ${name}.nii: ${words}`), stderr);
    const { warnings } = JSON.parse(stdout);
    assert.ok(warnings.length === 1 && warnings[0].includes(words), JSON.stringify(warnings));
  }
  const { stderr } = await run('register --fixed whole.nii --moving whole.nii --out same --levels 2 --iterations 1 --affine none');
  assert.not.match(stderr, /warning/);
});

test('voxels that are NaN count as background, which is told', async () => {
  const onto = (moving: string) =>
    run(`register --fixed whole.nii --moving ${moving} --out ${moving}.o --levels 2 --iterations 1 --affine none --json`);
  const lowest = fixed.data.reduce((a, b) => Math.min(a, b));
  const holes = fixed.data.map((value) => (value === lowest ? NaN : value));
  await writeNifti(at('holes.nii'), encodeNifti({ ...fixed, data: holes, dtype: 'float32' }));
  const rest = holes.reduce((least, x) => (x < least ? x : least), Infinity);
  await writeNifti(at('filled.nii'), encodeNifti({ ...fixed, data: holes.map((x) => (Number.isNaN(x) ? rest : x)), dtype: 'float32' }));
  const [nan, filled] = [await onto('holes.nii'), await onto('filled.nii')];
  assert.match(nan.stderr, /warning: holes\.nii: \d+ of \d+ voxels are NaN; they count as background, \d/);
  assert.equal(JSON.parse(nan.stdout).similarity, JSON.parse(filled.stdout).similarity);
  for (const name of ['holes', 'filled']) {
    const { code, stderr } = await run(
      `apply --moving ${name}.nii --displacement holes.nii.o/displacement.nii.gz --out ${name}.warped.nii`,
    );
    assert.is(code, 0, stderr);
    assert.is(/warning: holes\.nii: \d+ of \d+ voxels are NaN/.test(stderr), name === 'holes');
  }
  const [applied, expected] = await Promise.all(['holes', 'filled'].map((name) => readVolume(at(`${name}.warped.nii`))));
  assert.equal(applied.data, expected.data);
});

test('figures that speak against a result are told: landmarks and labels of something else', async () => {
  await writeNifti(at('ball.nii'), encodeNifti({ ...fixed, data: fixed.data.map((_, v) => Number(v % 97 === 0)), dtype: 'uint8' }));
  await writeNifti(at('other.nii'), encodeNifti({ ...fixed, data: fixed.data.map((_, v) => Number(v % 89 === 0)), dtype: 'uint8' }));
  await writeNifti(at('bent.nii'), encodeNifti({ ...bent, dtype: 'float32' }));
  const point = fixed.size.map((n) => n / 2).join(',');
  await writeFile(at('same.csv'), `fixed_i,fixed_j,fixed_k,moving_i,moving_j,moving_k\n${point},${point}\n`);
  const { stderr, stdout } = await run(
    'register --fixed whole.nii --moving bent.nii --fixed-seg ball.nii --moving-seg other.nii --landmarks same.csv --out against --levels 4 --affine none --json',
  );
  const told = [
    /the labels hardly overlap: Dice 0\.0\d\d on average; are these label maps/,
    /the landmarks are farther apart than before: TRE 0\.00 → \d/,
  ];
  for (const words of told) assert.ok(words.test(stderr) && words.test(JSON.parse(stdout).warnings.join('\n')), stderr);
});

test('labels asked for that a map lacks are told, with the map', async () => {
  await writeNifti(
    at('fewer.nii'),
    encodeNifti({ ...fixedSeg, data: fixedSeg.data.map((label) => (label === 3 ? 0 : label)), dtype: 'uint8' }),
  );
  for (const [a, b, words] of [
    ['labels', 'fewer', '98, 99 in neither map; 3 only in the fixed map'],
    ['fewer', 'labels', '98, 99 in neither map; 3 only in the moving map'],
  ]) {
    const { code, stderr } = await run(
      `register --fixed whole.nii --moving whole.nii --fixed-seg ${a}.nii --moving-seg ${b}.nii --labels 2,98,3,99 --levels 2 --iterations 1 --affine none --no-report --out ${a}`,
    );
    assert.is(code, 0, stderr);
    const told = `${a}.nii, ${b}.nii: labels that do not count: ${words}`;
    assert.ok(stderr.includes(`deqreg: warning: ${told}\n`), stderr);
    const { warnings, dice } = JSON.parse(await readFile(at(a, 'metrics.json'), 'utf8'));
    assert.equal([warnings, Object.keys(dice.perLabel)], [[told], ['2']]);
  }
});

test('labels that were stored with a rounding error are the whole numbers beside', async () => {
  const data = fixedSeg.data.map((label, v) => label + 1e-5 * ((v % 3) - 1));
  await writeNifti(at('noisy.nii'), encodeNifti({ ...fixedSeg, data, dtype: 'float32' }));
  const { code, stderr } = await run(
    'register --fixed whole.nii --moving whole.nii --fixed-seg labels.nii --moving-seg noisy.nii --levels 2 --iterations 1 --affine none --no-report --out noisy',
  );
  assert.is(code, 0, stderr);
  const { dice } = JSON.parse(await readFile(at('noisy', 'metrics.json'), 'utf8'));
  assert.equal([dice.before, Object.keys(dice.perLabel).length], [1, new Set(fixedSeg.data).size - 1]);
  assert.is((await readVolume(at('noisy', 'warped_seg.nii.gz'))).dtype, 'uint8');
});

test('a label that the warp has lost: no HD95, and why', async () => {
  const alone = fixedSeg.data.map((label, v) => (v === 0 ? 98 : v === 1 ? 99 : label)); // in a corner that the part does not have
  await writeNifti(at('alone.nii'), encodeNifti({ ...fixedSeg, data: alone, dtype: 'uint8' }));
  const part = crop(fixedSeg, 14, [14, 14, 14]);
  await writeNifti(
    at('part_seg.nii'),
    encodeNifti({ ...part, data: part.data.map((label, v) => (v < 2 ? 98 + v : label)), dtype: 'uint8' }),
  );
  const register = 'register --fixed part.nii --moving whole.nii --fixed-seg part_seg.nii --moving-seg alone.nii';
  for (const [labels, words] of [
    ['2,98', 'label 98 was lost'],
    ['2,98,99', 'labels 98, 99 were lost'],
  ]) {
    const { code, stdout, stderr } = await run(`${register} --labels ${labels} --levels 2 --iterations 1 --affine none --out lost`);
    assert.is(code, 0, stderr);
    assert.match(stdout, new RegExp(`^ +HD95 +not defined: ${words}$`, 'm'));
    const { hd95, dice } = JSON.parse(await readFile(at('lost', 'metrics.json'), 'utf8'));
    assert.equal([hd95.mean, hd95.perLabel[98], dice.perLabel[98]], [null, null, 0]);
    assert.ok(hd95.perLabel[2] < 10);
    if (browser) assert.match((await opened(at('lost', 'report.html'), folder)).dom, new RegExp(`HD95</div>.*–</div>.*${words}<`));
  }
});

test.run();
