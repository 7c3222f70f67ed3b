// Affines from files and points, through the real command: register --initial, compose with ITK's affines, points.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Affine, applyAffine, composeAffine, invertAffine, lpsOf } from '../src/io/affine.ts';
import { readAffine, readDisplacement, readPoints, readVolume, writeNifti } from '../src/io/files.ts';
import { encodeNifti } from '../src/io/nifti.ts';
import { encodeItkAffine } from '../src/io/transform.ts';
import { sameGrid } from '../src/io/volume.ts';
import { scratch } from './cli-run.ts';
import { transformOf } from './moved.ts';

const { make, remove, at, run, succeed } = scratch('transforms');
/** Turned by 35°, far away: nothing that an alignment would find by itself, nor headers that overlap. */
const far = transformOf({ turn: [20, -25, 15], shift: [900, -400, 300] });
const metrics = async (out: string) => JSON.parse(await readFile(at(out, 'metrics.json'), 'utf8'));

test.before(async () => {
  await make();
  await succeed('phantom --out p --kind brain --size 40,48,56 --seed 1');
  for (const name of ['moving', 'moving_seg']) {
    const { size, affine, data, dtype } = await readVolume(at(`p/${name}.nii.gz`));
    await writeNifti(at(`${name}.nii`), encodeNifti({ size, affine: composeAffine(far, affine), data, dtype: dtype as 'uint8' }));
  }
  await writeFile(at('far.tfm'), encodeItkAffine(far));
  const pair = '--fixed p/fixed.nii.gz --fixed-seg p/fixed_seg.nii.gz --no-report';
  await succeed(`register ${pair} --moving p/moving.nii.gz --moving-seg p/moving_seg.nii.gz --affine none --out near`);
  await succeed(`register ${pair} --moving moving.nii --moving-seg moving_seg.nii --initial far.tfm --affine none --inverse --out far`);
});
test.after(remove);

test('register --initial: what is moved away by an affine is registered as if it were not, and the displacement contains the affine', async () => {
  const [near, there] = [await metrics('near'), await metrics('far')];
  assert.ok(
    near.dice.mean > near.dice.before + 0.15 && Math.abs(there.dice.mean - near.dice.mean) < 1e-3,
    `${near.dice.before} → ${near.dice.mean}, ${there.dice.mean}`,
  );
  assert.is(there.dice.before, 0); // where the headers are
  assert.ok(Math.abs(there.similarity.after - near.similarity.after) < 1e-4);
  assert.equal([there.affine.mode, there.inputs.initial, there.coverage], ['none', 'far.tfm', near.coverage]);
  assert.ok((await readAffine(at('far/affine.txt'))).every((x, n) => Math.abs(x - far[n]) < 1e-9));
  assert.ok(there.options.initial.every((x: number, n: number) => Math.abs(x - far[n]) < 1e-9));
  assert.equal(there.memory.planned, there.memory.measured);
  assert.is(there.inverse.unsolvedPercent, 0);

  const [u, v] = await Promise.all(['near', 'far'].map((name) => readDisplacement(at(name, 'displacement.nii.gz'))));
  const n = u.data.length / 3;
  let worst = 0;
  for (let p = 0; p < n; p += 97) {
    const x = applyAffine(u.affine, [p % 40, Math.floor(p / 40) % 48, Math.floor(p / 1920)]);
    const to = (field: typeof u) => lpsOf([0, 1, 2].map((axis) => lpsOf(x)[axis] + field.data[axis * n + p]));
    const expected = applyAffine(far, to(u));
    worst = Math.max(worst, ...to(v).map((value, axis) => Math.abs(value - expected[axis])));
  }
  assert.ok(worst < 0.05, `${worst} mm`);
});

test('register --initial: an alignment that follows starts there, and a far one is not asked for twice', async () => {
  const off = composeAffine(far, transformOf({ turn: [0, 8, 0], shift: [6, 0, -4] }));
  await writeFile(at('off.txt'), encodeItkAffine(off));
  const common = 'register --fixed p/fixed.nii.gz --moving moving.nii --no-report --levels 4 --iterations 3';
  const { stdout } = await succeed(`${common} --initial off.txt --affine rigid --out rigid`);
  assert.match(stdout, /affine +off\.txt, then rigid: NCC 0\.\d+ → 0\.\d+, \d+\.\d mm on average/);
  const { affine } = await metrics('rigid');
  await succeed(`${common.replace('moving.nii', 'p/moving.nii.gz')} --affine rigid --out unmoved`);
  const truth = composeAffine(far, (await metrics('unmoved')).affine.matrix);
  const miss = (a: Affine) => Math.hypot(...applyAffine(a, [0, 0, 0]).map((x, axis) => x - applyAffine(truth, [0, 0, 0])[axis]));
  assert.ok(miss(affine.matrix) < 0.5 && miss(off) > 6, `${miss(affine.matrix)} mm, at first ${miss(off)} mm`);
  assert.match((await succeed(`${common} --initial far.tfm --out auto`)).stdout, /affine +far\.tfm, then none \(the images start close/);
  await succeed(`${common} --initial far.tfm --dry-run`);
});

test('compose: affines of files before and after a displacement, alone, and a displacement on another grid', async () => {
  const golden = transformOf({ turn: [5, -10, 8], scale: [1.1, 0.95, 1.05], shift: [12, -5, 3] });
  await writeFile(at('a.txt'), encodeItkAffine(golden));
  const u = await readDisplacement(at('near/displacement.nii.gz'));
  const coarse = { size: [20, 24, 28] as [number, number, number], affine: u.affine.map((x, n) => (n % 4 < 3 ? 2 * x : x)) };
  await writeNifti(at('coarse.nii'), encodeNifti({ ...coarse, data: new Float32Array(20 * 24 * 28), dtype: 'uint8' }));
  const compose = async (args: string) => {
    await succeed(`compose ${args} --out c.nii.gz`);
    return readDisplacement(at('c.nii.gz'));
  };
  /** Where a field takes the place of one of its voxels, RAS mm; of u beyond its own voxels not asked for. */
  const taken = (field: typeof u, i: number, j: number, k: number) => {
    const [w, h] = field.size;
    const [p, n] = [(k * h + j) * w + i, field.data.length / 3];
    return applyAffine(field.affine, [i, j, k]).map((x, axis) => x + field.data[axis * n + p] * (axis < 2 ? -1 : 1));
  };
  const close = (a: readonly number[], b: readonly number[]) =>
    assert.ok(Math.hypot(...a.map((x, axis) => x - b[axis])) < 1e-3, `${a}, not ${b}`); // mm

  const after = await compose('--first a.txt --second near/displacement.nii.gz');
  assert.ok(sameGrid(after, u));
  close(taken(after, 13, 30, 25), applyAffine(golden, taken(u, 13, 30, 25)));

  const alone = await compose('--first a.txt --like coarse.nii');
  assert.ok(sameGrid(alone, coarse));
  close(taken(alone, 3, 7, 11), applyAffine(golden, applyAffine(coarse.affine, [3, 7, 11])));

  const resampled = await compose('--first near/displacement.nii.gz --like coarse.nii');
  assert.ok(sameGrid(resampled, coarse));
  close(taken(resampled, 9, 12, 14), taken(u, 18, 24, 28));

  await writeFile(at('shift.txt'), encodeItkAffine([1, 0, 0, 2 * u.affine[0], 0, 1, 0, 0, 0, 0, 1, 0])); // two voxels along i
  const before = await compose('--first near/displacement.nii.gz --second shift.txt --like p/fixed.nii.gz');
  close(taken(before, 13, 30, 25), taken(u, 15, 30, 25));
  const both = await compose('--first a.txt --second near/displacement.nii.gz --like coarse.nii');
  close(taken(both, 9, 12, 14), applyAffine(golden, taken(u, 18, 24, 28)));
  assert.ok(sameGrid(both, coarse));
});

test('points: with the displacement from fixed to moving points, with the inverse back; mm and voxels, other columns kept', async () => {
  const u = await readDisplacement(at('far/displacement.nii.gz'));
  const moving = await readVolume(at('moving.nii'));
  const [w, h] = u.size;
  const [p, n] = [(25 * h + 30) * w + 13, u.data.length / 3];
  const from = lpsOf(applyAffine(u.affine, [13, 30, 25]));
  const to = from.map((x, axis) => x + u.data[axis * n + p]);
  await writeFile(at('mm.csv'), `name,z,x,y,weight\n"a, b",${from[2]},${from[0]},${from[1]},0.5\nc,0,0,0,1\n`);
  await succeed('points --in mm.csv --displacement far/displacement.nii.gz --out q/moved.csv');
  const text = await readFile(at('q/moved.csv'), 'utf8');
  assert.match(text, /^name,z,x,y,weight\n"a, b",-?[\d.]+,-?[\d.]+,-?[\d.]+,0\.5\nc,.*,1\n$/);
  const { points, voxels } = await readPoints(at('q/moved.csv'));
  assert.not(voxels);
  to.forEach((x, axis) => assert.ok(Math.abs(x - points[axis]) < 1e-3, `${points}, not ${to}`));

  await succeed('points --in q/moved.csv --displacement far/inverse_displacement.nii.gz --out back.csv');
  const back = await readPoints(at('back.csv'));
  from.forEach((x, axis) => assert.ok(Math.abs(x - back.points[axis]) < 0.5, `${back.points}, not ${from}`)); // voxels of 4 mm

  const ras = lpsOf(from);
  await writeFile(at('ras.csv'), `x;y;z\n${ras.join(';')}\n`);
  await succeed('points --in ras.csv --displacement far/displacement.nii.gz --out ras-moved.csv --ras');
  lpsOf([...(await readPoints(at('ras-moved.csv'))).points]).forEach((x, axis) => assert.ok(Math.abs(x - to[axis]) < 1e-3));

  await writeFile(at('voxels.csv'), 'I,J,K\n13,30,25\n');
  await succeed('points --in voxels.csv --displacement far/displacement.nii.gz --like moving.nii --out voxels-moved.csv');
  const voxel = await readPoints(at('voxels-moved.csv'));
  assert.ok(voxel.voxels);
  applyAffine(invertAffine(moving.affine), lpsOf(to)).forEach((x, axis) => assert.ok(Math.abs(x - voxel.points[axis]) < 1e-3));

  await writeFile(at('beyond.csv'), `5000,0,0\n${from}\n`);
  const { stderr } = await succeed('points --in beyond.csv --displacement far/displacement.nii.gz --out beyond-moved.csv');
  assert.is(stderr, "deqreg: warning: beyond.csv: 1 of 2 points lie beyond the displacement's grid, where it goes on as at its border\n");
});

test('evaluate: a pair starts from the affine that the data list names', async () => {
  const pair = { fixed: 'p/fixed.nii.gz', moving: 'moving.nii', fixedLabel: 'p/fixed_seg.nii.gz', movingLabel: 'moving_seg.nii' };
  await writeFile(at('list.json'), JSON.stringify({ validation: [{ ...pair, initial: 'far.tfm' }] }));
  await succeed('evaluate --data list.json --affine none --out e --quiet');
  const { runs } = JSON.parse(await readFile(at('e', 'evaluation.json'), 'utf8'));
  assert.is(runs[0].figures.dice, (await metrics('far')).dice.mean);
  await writeFile(
    at('train.json'),
    JSON.stringify({ training: ['p/fixed.nii.gz', 'moving.nii'], training_paired_images: [{ ...pair, initial: 'far.tfm' }] }),
  );
  assert.match(
    (await run('train --data train.json --out t')).stderr,
    /training_paired_images\[0\]: an initial affine does not apply to pairs that are trained on/,
  );
});

test('what is wrong with them is told, and nothing is written', async () => {
  await writeFile(at('singular.txt'), encodeItkAffine([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
  await writeFile(at('own.csv'), 'a,b,c\n1,2,3\n');
  const before = (await readdir(at())).sort();
  const u = 'near/displacement.nii.gz';
  const pair = 'register --fixed p/fixed.nii.gz --moving moving.nii --out bad';
  for (const [code, args, message] of [
    [1, `${pair} --initial singular.txt`, /singular\.txt: its affine is singular: /],
    [1, `${pair} --initial moving.nii`, /moving\.nii: no ITK transform: neither its text, .*/],
    [1, `${pair} --initial none.txt`, /none\.txt: no such file or folder/],
    [
      1,
      `${pair.replace('moving.nii', 'p/moving.nii.gz')} --initial far.tfm`,
      /p\/fixed\.nii\.gz, p\/moving\.nii\.gz, far\.tfm: the volumes do not overlap/,
    ],
    [2, `compose --first a.txt --out bad.nii`, /--second FILE is missing, or --like FILE for the first alone/],
    [2, `compose --first ${u} --second a.txt --out bad.nii`, /--like FILE is missing: a\.txt is an affine, which has no grid/],
    [1, `compose --first singular.txt --second ${u} --out bad.nii`, /singular\.txt: its affine is singular/],
    [
      1,
      `compose --first ${u} --second far.tfm --like p/fixed.nii.gz --out bad.nii`,
      /p\/fixed\.nii\.gz, near\/displacement\.nii\.gz: the displacement leads elsewhere/,
    ],
    [2, `points --in voxels.csv --displacement ${u} --out bad.csv`, /--like FILE is missing: voxels\.csv has voxels i, j, k; /],
    [2, `points --in voxels.csv --displacement ${u} --out bad.csv --ras --like moving.nii`, /--ras does not apply/],
    [2, `points --in mm.csv --displacement ${u} --out bad.csv --like moving.nii`, /--like does not apply: mm\.csv has no columns i, j, k/],
    [
      1,
      `points --in own.csv --displacement ${u} --out bad.csv`,
      /own\.csv:1: its columns are a, b, c; expected are x, y, z in mm, or i, j, k/,
    ],
    [2, `points --in mm.csv --displacement ${u} --out mm.csv`, /mm\.csv: is the --in of this run/],
  ] as const) {
    const ran = await run(args);
    assert.match(ran.stderr, new RegExp(`^deqreg: ${message.source}[^\n]*\n$`));
    assert.equal([ran.code, ran.stdout, (await readdir(at())).sort()], [code, '', before], args);
  }
});

test.run();
