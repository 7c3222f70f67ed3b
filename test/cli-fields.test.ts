// jacobian, invert, compose, convert and register --inverse through the real command, on a phantom pair with images on two grids.
import { readdir, readFile, symlink } from 'node:fs/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { applyAffine, composeAffine, invertAffine } from '../src/io/affine.ts';
import { convertDisplacement, fromPhysical } from '../src/io/displacement.ts';
import { readDisplacement, readVolume, writeNifti } from '../src/io/files.ts';
import { encodeDisplacement, encodeNifti } from '../src/io/nifti.ts';
import { sameGrid } from '../src/io/volume.ts';
import { seededRandom } from '../src/ops/random.ts';
import { nonDiffeomorphicPercent } from '../src/register/diffeomorphic.ts';
import { planInverse } from '../src/register/fields.ts';
import { jacobianStats } from '../src/register/metrics.ts';
import { scratch } from './cli-run.ts';

const { make, remove, at, run, succeed } = scratch('fields');
/** Lengths of the vectors of a field, in mm. */
const lengths = (data: Float32Array) =>
  Float64Array.from({ length: data.length / 3 }, (_, p) => Math.hypot(data[p], data[data.length / 3 + p], data[(2 * data.length) / 3 + p]));
const mean = (values: Float64Array) => values.reduce((a, b) => a + b) / values.length;

test.before(async () => {
  await make();
  await succeed('phantom --out p --kind brain --size 40,48,56 --seed 1');
  // The moving image on a grid of its own: k turned round, and cut at its end.
  const {
    size: [w, h, d],
    affine,
    data,
  } = await readVolume(at('p/moving.nii.gz'));
  const turned = new Float32Array(w * h * (d - 3));
  for (let k = 0; k < d - 3; k++) turned.set(data.subarray((d - 1 - k) * w * h, (d - k) * w * h), k * w * h);
  await writeNifti(
    at('moving.nii.gz'),
    encodeNifti({
      size: [w, h, d - 3],
      affine: composeAffine(affine, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, d - 1]),
      data: turned,
      dtype: 'uint8',
    }),
  );
  await succeed('register --fixed p/fixed.nii.gz --moving moving.nii.gz --out o --inverse --no-report');
});
test.after(remove);

test('register --inverse: on the moving grid, its residual in metrics.json, the way back from where the displacement leads', async () => {
  const [u, v, moving] = await Promise.all([
    readDisplacement(at('o/displacement.nii.gz')),
    readDisplacement(at('o/inverse_displacement.nii.gz')),
    readVolume(at('moving.nii.gz')),
  ]);
  assert.ok(sameGrid(v, moving));
  const { inverse, seconds } = JSON.parse(await readFile(at('o/metrics.json'), 'utf8'));
  const dry = JSON.parse((await succeed('register --fixed p/fixed.nii.gz --moving moving.nii.gz --inverse --dry-run --json')).stdout);
  assert.equal(dry.memory.inversion, planInverse(u, moving).peak);
  assert.ok(inverse.unsolvedPercent === 0 && inverse.voxels.max <= 0.005 && seconds.invert > 0, JSON.stringify(inverse));

  const toMoving = composeAffine(invertAffine(v.affine), u.affine),
    [w, h, d] = u.size,
    n = w * h * d;
  const steps = fromPhysical(u.data, u);
  let worst = 0,
    compared = 0;
  for (let p = 0; p < n; p++) {
    // from a fixed voxel to the moving grid's nearest voxel q, and back by v there
    const q = applyAffine(toMoving, [
      (p % w) + steps[p],
      (Math.floor(p / w) % h) + steps[n + p],
      Math.floor(p / (w * h)) + steps[2 * n + p],
    ]);
    const r = q.map(Math.round);
    if (!q.every((x, axis) => Math.abs(x - r[axis]) < 0.1) || !r.every((x, axis) => x >= 0 && x < v.size[axis])) continue;
    const m = v.data.length / 3,
      at = (r[2] * v.size[1] + r[1]) * v.size[0] + r[0];
    worst = Math.max(worst, Math.hypot(...[0, 1, 2].map((c) => u.data[c * n + p] + v.data[c * m + at])));
    compared++;
  }
  assert.ok(compared > 300 && worst < 2, `${worst} mm of 4 mm voxels at worst, ${compared} compared`); // at a tenth of a voxel from q
});

test('files say which space their millimetres are of, as the image does whose grid they are on', async () => {
  const put = async (from: string, to: string, space?: number) => {
    const volume = await readVolume(at(from));
    await writeNifti(at(to), encodeNifti({ ...volume, dtype: 'uint8', space }));
  };
  await Promise.all([put('p/fixed.nii.gz', 'mni.nii.gz', 4), put('moving.nii.gz', 'other.nii.gz', 2)]);
  await succeed(
    'register --fixed mni.nii.gz --moving other.nii.gz --moving-seg other.nii.gz --out s --inverse --no-report --levels 4 --iterations 2',
  );
  await succeed('apply --moving other.nii.gz --displacement s/displacement.nii.gz --out s/applied.nii.gz');
  await succeed('jacobian --displacement s/displacement.nii.gz --out s/jacobian.nii.gz');
  await succeed('invert --displacement s/displacement.nii.gz --like other.nii.gz --out s/inverse.nii.gz');
  await succeed('compose --first s/displacement.nii.gz --second s/inverse.nii.gz --out s/composed.nii.gz');
  await succeed('convert --in s/displacement.nii.gz --from itk --to ras --out s/ras.nii.gz');
  const ofVolume = async (name: string) => (await readVolume(at('s', name))).space;
  const ofField = async (name: string, form?: 'ras') => (await readDisplacement(at('s', name), form)).space;
  assert.equal(await Promise.all(['warped', 'warped_seg', 'applied', 'jacobian'].map((name) => ofVolume(`${name}.nii.gz`))), [4, 4, 4, 4]);
  assert.equal(
    await Promise.all(['displacement', 'inverse_displacement', 'inverse', 'composed'].map((name) => ofField(`${name}.nii.gz`))),
    [4, 2, 2, 2],
  );
  assert.is(await ofField('ras.nii.gz', 'ras'), 4);
  assert.is((await readVolume(at('o/warped.nii.gz'))).space, undefined, "the scanner's needs no saying");
});

test('jacobian: the determinant, its logarithm, and the figures of both', async () => {
  const { stdout } = await succeed('jacobian --displacement o/displacement.nii.gz --out j/det.nii.gz');
  const u = await readDisplacement(at('o/displacement.nii.gz'));
  const { foldingPercent, minJ, maxJ, sdLogJ } = jacobianStats(fromPhysical(u.data, u), u.size).grid;
  const printed = /folds +(\S+) % of the grid\n +J +(\S+) … (\S+)\n +SDlogJ +(\S+) /.exec(stdout)!.slice(1).map(Number);
  [foldingPercent, minJ, maxJ, sdLogJ].forEach((value, n) => assert.ok(Math.abs(printed[n] - value) < 2e-4, stdout));
  const random = seededRandom(7);
  const rough = { ...u, data: u.data.map(() => 20 * random()) }; // mm; folds
  await writeNifti(at('rough.nii'), encodeDisplacement(rough));
  const told = (await succeed('jacobian --displacement rough.nii --out j/rough.nii.gz')).stdout;
  const volume = nonDiffeomorphicPercent(fromPhysical(rough.data, u), u.size);
  const printedVolume = Number(/NDV +(\S+) %/.exec(told)![1]);
  assert.ok(Math.abs(printedVolume - volume) < 1e-3 && volume > 1, `${told}: ${volume}`);
  await succeed('jacobian --displacement o/displacement.nii.gz --out j/log.nii --log');
  const [det, log] = await Promise.all([readVolume(at('j/det.nii.gz')), readVolume(at('j/log.nii'))]);
  assert.ok(sameGrid(det, u) && log.data.every((value, p) => Math.abs(value - Math.log(Math.max(det.data[p], 1e-9))) < 1e-5));
});

test('invert: of a field that folds everywhere it is told that there is no inverse', async () => {
  const { size, affine } = await readVolume(at('p/fixed.nii.gz'));
  const random = seededRandom(1);
  const data = Float32Array.from({ length: 3 * size[0] * size[1] * size[2] }, () => 60 * (random() - 0.5));
  await writeNifti(at('noise.nii'), encodeDisplacement({ size, affine, data }));
  const { stdout, stderr } = await succeed('invert --displacement noise.nii --out none.nii');
  assert.match(stdout, /^residual mean \d\.\d+ voxel .*, \d\d\.\d+ % of its voxels unsolved/);
  assert.match(stderr, /^deqreg: warning: there is no inverse: \d+ % of its voxels unsolved, .* voxels off on average; /m);
});

test('invert and compose: to nothing, in both orders', async () => {
  const { stdout } = await succeed('invert --displacement o/displacement.nii.gz --out v.nii.gz --like moving.nii.gz');
  assert.match(
    stdout,
    /^residual mean 0\.00\d+ voxel \(0\.\d+ mm\), max 0\.00\d+ voxel \(0\.\d+ mm\), 0\.0000 % of its voxels unsolved\n$/,
  );
  assert.equal(await readFile(at('v.nii.gz')), await readFile(at('o/inverse_displacement.nii.gz')));
  await succeed('compose --first o/displacement.nii.gz --second v.nii.gz --out c/uv.nii.gz');
  await succeed('compose --first v.nii.gz --second o/displacement.nii.gz --out c/vu.nii.gz');
  const [u, v, uv, vu] = await Promise.all(
    ['o/displacement.nii.gz', 'v.nii.gz', 'c/uv.nii.gz', 'c/vu.nii.gz'].map((name) => readDisplacement(at(name))),
  );
  assert.ok(sameGrid(uv, v) && sameGrid(vu, u));
  assert.ok(
    mean(lengths(uv.data)) < 0.05 * 4 && mean(lengths(vu.data)) < 0.15 * 4,
    `${mean(lengths(uv.data))}, ${mean(lengths(vu.data))} mm`,
  ); // voxels of 4 mm

  await succeed('invert --displacement o/displacement.nii.gz --out own.nii');
  assert.ok(sameGrid(await readDisplacement(at('own.nii')), u));
});

test('compose: warping in one step is warping in two', async () => {
  // Linear interpolation of a linear image is exact, so that the two ways differ by rounding alone; the image has room on all sides.
  const {
    size: [w, h, d],
    affine,
  } = await readVolume(at('moving.nii.gz'));
  const room = 20,
    W = w + 2 * room,
    H = h + 2 * room,
    D = d + 2 * room;
  const ramp = Float32Array.from({ length: W * H * D }, (_, p) => (p % W) + 2 * (Math.floor(p / W) % H) + 3 * Math.floor(p / (W * H)));
  await writeNifti(
    at('ramp.nii'),
    encodeNifti({
      size: [W, H, D],
      affine: composeAffine(affine, [1, 0, 0, -room, 0, 1, 0, -room, 0, 0, 1, -room]),
      data: ramp,
      dtype: 'float32',
    }),
  );
  await succeed('compose --first o/displacement.nii.gz --second p/displacement.nii.gz --out c/both.nii.gz');
  await succeed('compose --first p/displacement.nii.gz --second o/displacement.nii.gz --out c/swapped.nii.gz');
  await succeed('apply --moving ramp.nii --displacement o/displacement.nii.gz --out w/one.nii');
  await succeed('apply --moving w/one.nii --displacement p/displacement.nii.gz --out w/two.nii');
  for (const name of ['both', 'swapped']) await succeed(`apply --moving ramp.nii --displacement c/${name}.nii.gz --out w/${name}.nii`);
  const [two, both, swapped] = await Promise.all(['two', 'both', 'swapped'].map((name) => readVolume(at('w', `${name}.nii`))));
  // Away from the border, where the image between (not the displacement) would have to go on.
  const inner = (p: number) =>
    [p % w, Math.floor(p / w) % h, Math.floor(p / (w * h))].every((x, axis) => x >= 6 && x < [w, h, d + 3][axis] - 6);
  const most = (a: Float32Array, b: Float32Array) =>
    a.reduce((worst, value, p) => (inner(p) ? Math.max(worst, Math.abs(value - b[p])) : worst), 0);
  assert.ok(most(two.data, both.data) < 0.01, `${most(two.data, both.data)}`);
  assert.ok(most(two.data, swapped.data) > 0.5, `${most(two.data, swapped.data)}`);
});

test('convert: round trips, byte for byte where nothing is computed', async () => {
  await succeed('convert --in o/displacement.nii.gz --out f/l.nii --from itk --to learn2reg');
  await succeed('convert --in f/l.nii --out f/v.nii.gz --from learn2reg --to ras --fixed p/fixed.nii.gz');
  await succeed('convert --in f/v.nii.gz --out f/l2.nii --from ras --to learn2reg');
  await succeed('convert --in f/v.nii.gz --out f/i.nii.gz --from ras --to itk');
  await succeed('convert --in o/displacement.nii.gz --out f/same.nii.gz --from itk --to itk');
  const bytes = (name: string) => readFile(at(name));
  assert.equal(await bytes('f/same.nii.gz'), await bytes('o/displacement.nii.gz'));
  const [u, l, v, i] = await Promise.all([
    readDisplacement(at('o/displacement.nii.gz')),
    readDisplacement(at('f/l.nii'), 'learn2reg'),
    readDisplacement(at('f/v.nii.gz'), 'ras'),
    readDisplacement(at('f/i.nii.gz')),
  ]);
  assert.equal(l.data, fromPhysical(u.data, u));
  assert.equal(v.data, convertDisplacement(l.data, u, 'learn2reg', 'ras'));
  const shifted = { ...(await readVolume(at('p/fixed.nii.gz'))), affine: u.affine.map((x, n) => (n % 4 === 3 ? x + 7 : 1.5 * x)) };
  await writeNifti(at('shifted.nii'), encodeNifti({ ...shifted, dtype: 'uint8' })); // Learn2Reg's voxels are of another grid than the file says
  await succeed('convert --in f/l.nii --out f/shifted.nii.gz --from learn2reg --to itk --fixed shifted.nii');
  const placed = await readDisplacement(at('f/shifted.nii.gz'));
  assert.ok(placed.data.every((value, n) => Math.abs(value - 1.5 * u.data[n]) < 1e-3));
  assert.ok(placed.affine.every((x, n) => Math.abs(x - shifted.affine[n]) < 1e-4));
  const again = await readDisplacement(at('f/l2.nii'), 'learn2reg');
  assert.ok(again.data.every((value, n) => Math.abs(value - l.data[n]) < 1e-4));
  assert.ok(i.data.every((value, n) => Math.abs(value - u.data[n]) < 1e-4));
});

test('refusals: one line, nothing written', async () => {
  const before = (await readdir(at())).sort();
  const cases: [number, string, RegExp][] = [
    [2, 'jacobian --displacement o/displacement.nii.gz --out bad.mha', /--out: bad\.mha: the name must end in \.nii or \.nii\.gz/],
    [2, 'convert --in f/v.nii.gz --out bad.nii --from ants --to itk', /--from: ants is none of itk, learn2reg, ras/],
    [2, 'convert --in f/v.nii.gz --out bad.nii --from itk', /--to itk\|learn2reg\|ras is missing/],
    [
      1,
      'jacobian --displacement p/fixed.nii.gz --out bad.nii',
      /p\/fixed\.nii\.gz: not a displacement field: dimensions 40×48×56, intent 0; expected W×H×D×1×3/,
    ],
    [
      1,
      'invert --displacement f/v.nii.gz --out bad.nii',
      /f\/v\.nii\.gz: not a displacement field: .* this is the form ras, which `deqreg convert --from ras` reads/,
    ],
    [
      1,
      'invert --displacement o/displacement.nii.gz --out bad.nii --like o/displacement.nii.gz',
      /o\/displacement\.nii\.gz: vector field .*, not an image/,
    ],
    [
      1,
      'compose --first f/l.nii --second v.nii.gz --out bad.nii',
      /f\/l\.nii: not a displacement field: .* this is the form learn2reg, which `deqreg convert --from learn2reg` reads/,
    ],
    [
      1,
      'convert --in o/displacement.nii.gz --out bad.nii --from learn2reg --to itk',
      /o\/displacement\.nii\.gz: not a displacement field: .* this is the form itk, which `deqreg convert --from itk` reads/,
    ],
    [
      1,
      'convert --in f/l.nii --out bad.nii --from learn2reg --to itk --fixed moving.nii.gz',
      /f\/l\.nii: 40×48×56 voxels, but the fixed volume moving\.nii\.gz has 40×48×53/,
    ],
  ];
  for (const [code, args, message] of cases) {
    const ran = await run(args);
    assert.match(ran.stderr, new RegExp(`^deqreg: ${message.source}[^\n]*\n$`));
    assert.equal([ran.code, ran.stdout, (await readdir(at())).sort()], [code, '', before], args);
  }
});

test('an input that --out names, by whatever path, is not replaced', async () => {
  await symlink(at('o'), at('link'), 'junction');
  const u = 'o/displacement.nii.gz';
  const before = await readFile(at(u));
  for (const [args, out, option] of [
    [`apply --moving ${u} --displacement ${u}`, u, 'moving'],
    [`apply --moving p/moving.nii.gz --displacement ${u}`, 'p/../p/moving.nii.gz', 'moving'],
    [`apply --moving p/moving.nii.gz[0] --displacement ${u}`, 'p/moving.nii.gz', 'moving'],
    [`jacobian --displacement ${u}`, `link/displacement.nii.gz`, 'displacement'],
    [`invert --displacement ${u} --like moving.nii.gz`, './moving.nii.gz', 'like'],
    [`compose --first v.nii.gz --second ${u}`, 'v.nii.gz', 'first'],
    [`compose --first v.nii.gz --second ${u}`, at(u), 'second'],
    [`convert --in ${u} --from itk --to ras`, u, 'in'],
    [`convert --in ${u} --from itk --to ras --fixed p/fixed.nii.gz`, 'p/fixed.nii.gz', 'fixed'],
  ]) {
    const { code, stderr } = await run(`${args} --out ${out}`);
    assert.equal([code, stderr], [2, `deqreg: ${out}: is the --${option} of this run, which would replace it; choose another --out\n`]);
  }
  assert.equal(await readFile(at(u)), before);
});

test.run();
