// The commands end to end, on phantoms: files, figures, and their agreement with each other.
import { cp, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { decode } from 'fast-png';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { applyAffine, composeAffine, type Affine, type Vec3 } from '../src/io/affine.ts';
import { fromPhysical } from '../src/io/displacement.ts';
import { readDisplacement, readLandmarks, readVolume, writeNifti } from '../src/io/files.ts';
import { encodeNifti } from '../src/io/nifti.ts';
import { sameGrid, type Volume } from '../src/io/volume.ts';
import { tre } from '../src/register/metrics.ts';
import { deqreg, scratch } from './cli-run.ts';

const { make, remove, at, succeed } = scratch('cli');
const metricsOf = async (out: string) => JSON.parse(await readFile(at(out, 'metrics.json'), 'utf8'));
const pair = '--fixed p/fixed.nii.gz --moving p/moving.nii.gz --fixed-seg p/fixed_seg.nii.gz --moving-seg p/moving_seg.nii.gz';
const outputs = ['displacement.nii.gz', 'metrics.json', 'report.html', 'warped.nii.gz', 'warped_seg.nii.gz'];
/** Without a Vulkan driver Dawn finds no adapter on Linux. */
const noDriver = { env: { VK_DRIVER_FILES: '/nonexistent.json', VK_ICD_FILENAMES: '/nonexistent.json' } };

test.before(async () => {
  await make();
  await succeed('phantom --out p --kind brain --size 40,48,56 --seed 1');
  await succeed(`register ${pair} --landmarks p/landmarks.csv --out o`);
});
test.after(remove);

test('phantom: all files, the same for the same seed, and the stored displacement is the true one', async () => {
  assert.equal((await readdir(at('p'))).sort(), [
    'displacement.nii.gz',
    'fixed.nii.gz',
    'fixed_seg.nii.gz',
    'landmarks.csv',
    'moving.nii.gz',
    'moving_seg.nii.gz',
    'phantom.json',
  ]);
  await succeed('phantom --out q --size 40,48,56');
  assert.equal(await readFile(at('q', 'fixed.nii.gz')), await readFile(at('p', 'fixed.nii.gz')));
  const [field, landmarks, moving] = await Promise.all([
    readDisplacement(at('p/displacement.nii.gz')),
    readLandmarks(at('p/landmarks.csv')),
    readVolume(at('p/moving.nii.gz')),
  ]);
  assert.equal([field.size, moving.dtype], [[40, 48, 56], 'uint8']);
  const identity: Affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
  assert.ok(tre(landmarks, fromPhysical(field.data, field), field.size, identity, moving).max < 1e-4);
});

test('measure: the figures of a displacement are those of the registration that made it, in every form', async () => {
  const { dice, hd95, tre, region, foldingPercent, ndvPercent, sdLogJ, sdLogJLearn2Reg, grid } = await metricsOf('o');
  const measure = `measure ${pair} --landmarks p/landmarks.csv`;
  const close = (found: object, expected: object, where: string) =>
    Object.entries(expected).forEach(([key, value]) => {
      const own = (found as Record<string, unknown>)[key];
      if (typeof value === 'object') return close(own as object, value, `${where}.${key}`);
      if (typeof value === 'string') return assert.is(own, value);
      assert.ok(Math.abs((own as number) - value) <= 1e-3 * Math.max(1, Math.abs(value)), `${where}.${key}: ${own}, expected ${value}`);
    });
  await succeed('convert --in o/displacement.nii.gz --from itk --to learn2reg --out l.nii.gz');
  for (const displacement of ['o/displacement.nii.gz', 'l.nii.gz --form learn2reg']) {
    const found = JSON.parse((await succeed(`${measure} --displacement ${displacement} --json`)).stdout);
    close(found, { dice, hd95, tre, region, foldingPercent, ndvPercent, sdLogJ, sdLogJLearn2Reg, grid }, displacement);
    assert.equal(found.warnings, []);
  }
  const { stdout } = await succeed(`${measure} --displacement p/displacement.nii.gz`);
  assert.match(
    stdout,
    /^ *Dice +0\.\d+ → 0\.8\d+ .*\n *HD95 .*\n *TRE +\d\.\d\d ± \d\.\d\d → 0\.00 ± 0\.00 mm, at most 0\.00 mm\n *folds /,
  );
  assert.is((await deqreg(at(), `${measure} --displacement l.nii.gz`.split(' '), noDriver)).code, 1);
  assert.is((await deqreg(at(), `${measure} --displacement o/displacement.nii.gz`.split(' '), noDriver)).code, 0, 'no GPU is needed');
  await succeed('phantom --out small --kind brain --size 24,28,32');
  const other = await deqreg(
    at(),
    'measure --fixed small/fixed.nii.gz --moving p/moving.nii.gz --displacement o/displacement.nii.gz'.split(' '),
  );
  assert.match(other.stderr, /o\/displacement\.nii\.gz: 40×48×56 voxels, but the fixed volume small\/fixed\.nii\.gz has 24×28×32\n$/);
});

test('apply: a label map that is interpolated linearly by default is told of', async () => {
  const apply = 'apply --displacement o/displacement.nii.gz --out x.nii.gz';
  const told = /^deqreg: warning: p\/moving_seg\.nii\.gz: seems to be a label map, and is interpolated linearly; --interpolation nearest /;
  assert.match((await succeed(`${apply} --moving p/moving_seg.nii.gz`)).stderr, told);
  for (const quiet of ['p/moving_seg.nii.gz --interpolation nearest', 'p/moving_seg.nii.gz --interpolation linear', 'p/moving.nii.gz'])
    assert.is((await succeed(`${apply} --moving ${quiet}`)).stderr, '', quiet);
});

test('register: a file that cannot be put in its place leaves the results of the run before', async () => {
  await cp(at('o'), at('half'), { recursive: true });
  await rm(at('half/report.html'));
  await mkdir(at('half/report.html'));
  const content = async () => Promise.all(['displacement.nii.gz', 'metrics.json'].map((name) => readFile(at('half', name))));
  const before = await content();
  const { code, stderr } = await deqreg(at(), `register ${pair} --levels 4 --iterations 2 --out half`.split(' '));
  assert.is(code, 1);
  assert.match(stderr, /half\/report\.html: cannot write/);
  assert.equal(await content(), before);
  assert.equal((await readdir(at('half'))).sort(), outputs);
});

test('register: files on the fixed grid, metrics.json complete', async () => {
  assert.equal((await readdir(at('o'))).sort(), outputs);
  const [fixed, warped, seg, field] = await Promise.all([
    readVolume(at('p/fixed.nii.gz')),
    readVolume(at('o/warped.nii.gz')),
    readVolume(at('o/warped_seg.nii.gz')),
    readDisplacement(at('o/displacement.nii.gz')),
  ]);
  for (const grid of [warped, seg, field]) assert.ok(sameGrid(fixed, grid));
  assert.equal([warped.dtype, seg.dtype], ['uint8', 'uint8']);

  const m = await metricsOf('o');
  assert.ok(m.dice.mean > 0.8 && m.dice.mean > m.dice.before + 0.1, JSON.stringify(m.dice));
  assert.is(Object.keys(m.dice.perLabel).length, 18);
  assert.equal(Object.keys(m.hd95.perLabel), Object.keys(m.dice.perLabel));
  assert.ok(m.hd95.mean > 0 && m.hd95.mean < 10);
  assert.ok(m.tre.after < m.tre.before / 2, JSON.stringify(m.tre));
  assert.is(m.region, 'fixed labels');
  for (const region of [m, m.grid]) {
    assert.ok(region.foldingPercent <= 0.3 && region.sdLogJ > 0.01 && region.sdLogJ < 0.85);
    assert.ok(region.sdLogJLearn2Reg > 0 && region.sdLogJLearn2Reg < region.sdLogJ / 2);
  }
  assert.ok(m.ndvPercent >= 0 && m.ndvPercent < 0.3, `${m.ndvPercent}`);
  assert.ok(m.similarity.after > m.similarity.before);
  assert.is(m.solver.method, m.options.method);
  assert.equal(
    m.solver.levels.map((level: { factor: number }) => level.factor),
    m.options.levels,
  );
  for (const level of m.solver.levels) {
    assert.ok(['converged', 'max-iterations', 'stagnated', 'diverged'].includes(level.result));
    assert.ok(level.iterations > 0 && level.residuals.length === level.iterations && level.similarities.length > 0);
  }
  const { total, ...stages } = m.seconds;
  assert.equal(Object.keys(stages), ['read', 'prepare', 'affine', 'solve', 'metrics', 'write']);
  const sum = (Object.values(stages) as number[]).reduce((a, b) => a + b);
  assert.ok(Math.abs(total - sum) < 0.1 * total + 0.1, `${total} s in all, ${sum} s by stage`);
  assert.equal(m.memory.planned, m.memory.measured);
  assert.ok(m.adapter.description && m.version && m.intensities.fixed.high > 100);
  assert.equal(m.options.labels, Object.keys(m.dice.perLabel).map(Number));
  assert.is(m.inputs.fixed, 'p/fixed.nii.gz');
});

test('apply: agrees with what register has written', async () => {
  await succeed('apply --moving p/moving.nii.gz --displacement o/displacement.nii.gz --out a/linear.nii.gz');
  await succeed('apply --moving p/moving_seg.nii.gz --displacement o/displacement.nii.gz --out a/nearest.nii --interpolation nearest');
  for (const [name, expected] of [
    ['linear.nii.gz', 'warped.nii.gz'],
    ['nearest.nii', 'warped_seg.nii.gz'],
  ]) {
    const [a, b] = await Promise.all([readVolume(at('a', name)), readVolume(at('o', expected))]);
    assert.ok(sameGrid(a, b) && a.dtype === b.dtype);
    const different = a.data.filter((value, v) => value !== b.data[v]).length / a.data.length; // values at the edge between two
    assert.ok(different < 1e-3, `${name}: ${100 * different} % of the voxels differ`);
  }
  assert.equal((await readdir(at('a'))).sort(), ['linear.nii.gz', 'nearest.nii']);
});

test('every option of the registration arrives', async () => {
  const given =
    '--method adam --levels 4,2 --iterations 7,8 --tolerance 0.5,0.4 --lambda 0.3,0.2 --window 9 --affine rigid --modality ct --refine 2';
  const { stdout } = await succeed(`register --fixed p/fixed.nii.gz --moving p/moving.nii.gz ${given} --dry-run --json`);
  const { options } = JSON.parse(stdout);
  const { method, levels, iterations, tolerance, lambda, window, affine, modality, refine } = options;
  assert.equal(
    [method, levels, iterations, tolerance, lambda, window, affine, modality, refine.iterations],
    ['adam', [4, 2], [7, 8], [0.5, 0.4], [0.3, 0.2], 9, 'rigid', 'ct', 2],
  );
  const one = await succeed('register --fixed p/fixed.nii.gz --moving p/moving.nii.gz --levels 4,2 --tolerance 0.25 --dry-run --json');
  assert.equal(JSON.parse(one.stdout).options.tolerance, [0.25, 0.25]);
});

test('dry run: the measured bytes by tag, without a GPU', async () => {
  const ran = await deqreg(at(), `register ${pair} --dry-run --json`.split(' '), noDriver);
  assert.equal([ran.code, ran.stderr], [0, '']);
  const { memory, options } = JSON.parse(ran.stdout);
  const { labels, ...used } = (await metricsOf('o')).options;
  assert.equal(options, used);
  assert.equal(memory.planned, (await metricsOf('o')).memory.measured);
  assert.match((await succeed(`register ${pair} --dry-run`)).stdout, new RegExp(`total .* ${memory.planned.total} bytes`));
});

test('what is printed: a summary and a line a level, JSON alone, or nothing', async () => {
  const plain = await succeed(`register ${pair} --out o2 --iterations 2`);
  assert.match(plain.stdout, /Dice +0\.\d+ → 0\.\d+ \(mean of 18 labels\)/);
  assert.match(plain.stderr, /^level 3\/3: 2 iterations, residual 0\.\d+ voxel, LNCC 0\.\d+/m);
  const json = await succeed(`register ${pair} --out o2 --iterations 1 --json`);
  assert.equal(JSON.parse(json.stdout), await metricsOf('o2'));
  const quiet = await succeed(`register ${pair} --out o2 --iterations 1 --quiet`);
  assert.equal([quiet.stdout, quiet.stderr], ['', '']);
  assert.equal((await readdir(at('o2'))).sort(), outputs);
});

/** The same image with its axes in another order (j, k, i), the last one reversed: new voxel (a, b, c) = old (W − 1 − c, a, b). */
function reordered({ size: [W, H, D], affine, data, dtype }: Volume): Volume {
  const size: Vec3 = [H, D, W];
  const out = new Float32Array(data.length);
  for (let c = 0, v = 0; c < W; c++)
    for (let b = 0; b < D; b++) for (let a = 0; a < H; a++, v++) out[v] = data[(b * H + a) * W + W - 1 - c];
  return { size, affine: composeAffine(affine, [0, 0, -1, W - 1, 1, 0, 0, 0, 0, 1, 0, 0]), data: out, dtype };
}

test('a moving image with other axes gives the same registration', async () => {
  for (const name of ['moving.nii.gz', 'moving_seg.nii.gz']) {
    await writeNifti(at(name), encodeNifti({ ...reordered(await readVolume(at('p', name))), dtype: 'uint8' }));
  }
  const [a, b] = await Promise.all([readVolume(at('moving.nii.gz')), readVolume(at('p/moving.nii.gz'))]);
  assert.equal(applyAffine(a.affine, [3, 4, 39 - 2]), applyAffine(b.affine, [2, 3, 4]));
  await succeed(
    'register --fixed p/fixed.nii.gz --moving moving.nii.gz --fixed-seg p/fixed_seg.nii.gz --moving-seg moving_seg.nii.gz --out r',
  );
  const [r, o] = [await metricsOf('r'), await metricsOf('o')];
  assert.ok(Math.abs(r.dice.before - o.dice.before) < 1e-3, `before: ${r.dice.before}, ${o.dice.before}`);
  assert.ok(Math.abs(r.dice.mean - o.dice.mean) < 5e-3, `after: ${r.dice.mean}, ${o.dice.mean}`);
});

test('an image against itself: converged, Dice 1, no motion', async () => {
  await succeed(
    'register --fixed p/fixed.nii.gz --moving p/fixed.nii.gz --fixed-seg p/fixed_seg.nii.gz --moving-seg p/fixed_seg.nii.gz --out s',
  );
  const m = await metricsOf('s');
  assert.is(m.dice.mean, 1);
  assert.equal(
    m.solver.levels.map((level: { result: string }) => level.result),
    ['converged', 'converged', 'converged'],
  );
  const field = await readDisplacement(at('s/displacement.nii.gz'));
  assert.ok(fromPhysical(field.data, field).every((x) => Math.abs(x) < 0.01));
});

test('CT: int16 stays int16, and landmarks come closer', async () => {
  await succeed('phantom --out lung --kind lung --size 40,56,80 --seed 1');
  await succeed('register --fixed lung/fixed.nii.gz --moving lung/moving.nii.gz --landmarks lung/landmarks.csv --out l');
  const m = await metricsOf('l');
  assert.equal([m.intensities.fixed.modality, m.region, m.dice], ['ct', 'fixed foreground', undefined]);
  assert.ok(m.tre.after < m.tre.before / 2, JSON.stringify(m.tre));
  assert.equal((await readdir(at('l'))).sort(), ['displacement.nii.gz', 'metrics.json', 'report.html', 'warped.nii.gz']);
  assert.is((await readVolume(at('l/warped.nii.gz'))).dtype, 'int16');
});

test('interrupted: exit code 130, earlier results untouched, nothing else left', async () => {
  await cp(at('o'), at('kept'), { recursive: true });
  for (const out of ['kept', 'new/deep']) {
    const ran = await deqreg(at(), `register ${pair} --out ${out} --tolerance 0 --iterations 200`.split(' '), {
      interruptAt: 'level 2/3',
    });
    assert.equal([ran.code, ran.stdout], [130, '']);
    assert.match(ran.stderr, /\ndeqreg: interrupted; nothing was written\n$/);
  }
  assert.equal((await readdir(at('kept'))).sort(), outputs);
  assert.equal(await metricsOf('kept'), await metricsOf('o'));
  assert.not.ok((await readdir(at())).includes('new'));
});

test('info: the adapter that is taken, as text and as JSON', async () => {
  const { adapters, reason } = JSON.parse((await succeed('info --json')).stdout);
  assert.ok(adapters.length > 0 && reason);
  assert.equal(
    adapters.map((adapter: { chosen: boolean }) => adapter.chosen),
    adapters.map((_: unknown, n: number) => n === 0),
  );
  assert.ok(adapters[0].limits.maxBufferSize > 2 ** 27 && adapters[0].features.length > 0);
  const { stdout } = await succeed('info');
  assert.match(
    stdout,
    / on a GPU:/.test(stdout) ? /conv3d 3×3×3 +16 channels × up to 4 voxels/ : /conv3d 3×3×3 +16 channels × up to 16 voxels/,
  );
  assert.ok(stdout.includes(`* ${adapters[0].info.description} (${adapters[0].info.software ? 'software' : 'hardware'}`));
});

test('quickstart: both commands and two pictures', async () => {
  const { stdout } = await succeed('quickstart');
  assert.match(stdout, /^\$ deqreg register .*quickstart/m);
  assert.match(stdout, /quickstart.images\.png .*\n.*quickstart.difference\.png/);
  const { dice, tre, foldingPercent } = JSON.parse(await readFile(at('quickstart', 'result', 'metrics.json'), 'utf8'));
  assert.ok(dice.before < 0.55 && dice.mean > 0.92, `Dice ${dice.before} → ${dice.mean}`);
  assert.ok(tre.before > 5 && tre.after < 1.2, `TRE ${tre.before} → ${tre.after} mm`);
  assert.is(foldingPercent, 0);
  for (const [name, rows] of [
    ['images.png', 3],
    ['difference.png', 2],
  ] as const) {
    const { width, height } = decode(await readFile(at('quickstart', name)));
    assert.ok(width > 500 && Math.abs(height / rows - 258) < 3, `${name}: ${width}×${height}`);
  }
});

if (process.platform === 'linux')
  test('no adapter: one line with the remedy, nothing left behind', async () => {
    const ran = await deqreg(at(), `register ${pair} --out none`.split(' '), noDriver);
    assert.match(ran.stderr, /\ndeqreg: no WebGPU adapter: [^\n]*\n$/); // after Dawn's own complaints
    assert.equal([ran.code, ran.stdout, (await readdir(at())).includes('none')], [1, '', false]);
    const info = await deqreg(at(), ['info'], noDriver);
    assert.is(info.code, 1);
    assert.match(info.stdout, /No GPU adapter/);
  });

test.run();
