// deqreg evaluate on phantoms: its figures are those of deqreg register; failures and interruptions keep what was done.
import { copyFile, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Evaluation } from '../src/cli/evaluation/content.ts';
import { csvOf, figureNames, figures, meansOf, mixedRegions, type Run } from '../src/cli/evaluation/figures.ts';
import type { Done } from '../src/cli/evaluation/journal.ts';
import { meansTable } from '../src/cli/evaluation/summary.ts';
import { readVolume, writeNifti } from '../src/io/files.ts';
import { encodeNifti } from '../src/io/nifti.ts';
import { deqreg } from './cli-run.ts';
import { at as root } from './root.ts';
import { browser, opened, references } from './pages.ts';

let folder = '';
const at = (...parts: string[]) => join(folder, ...parts);
const run = (args: string, interruptAt?: string) => deqreg(folder, args.split(' '), { interruptAt });
const evaluationOf = async (out: string): Promise<Evaluation<Done>> => JSON.parse(await readFile(at(out, 'evaluation.json'), 'utf8'));

/** Options that take little time: two levels of a 24×28×32 grid. */
const quick = '--levels 2,1 --iterations 2,3 --affine none';
const evaluate = `evaluate --data list.json --method equilibrium,adam ${quick}`;
const results = ['evaluation.csv', 'evaluation.html', 'evaluation.json', 'evaluation.jsonl'];

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'deqreg-evaluate-'));
  for (const seed of [1, 2]) assert.is((await run(`phantom --out p${seed} --size 24,28,32 --seed ${seed}`)).code, 0);
  const pair = (p: string, moving: string) => ({
    name: `${p} "${moving}"`,
    fixed: `${p}/fixed.nii.gz`,
    moving: `${p}/${moving}`,
    fixedLabel: `${p}/fixed_seg.nii.gz`,
    movingLabel: `${p}/moving_seg.nii.gz`,
    landmarks: `${p}/landmarks.csv`,
  });
  await writeFile(at('p2/bad.nii.gz'), 'not an image at all');
  const list = { name: 'phantoms', labels: [2, 3, 99], validation: [pair('p1', 'moving.nii.gz'), pair('p2', 'bad.nii.gz')] };
  await writeFile(at('list.json'), JSON.stringify(list));
  await writeFile(at('single.json'), JSON.stringify({ validation: [{ fixed: 'p1/fixed.nii.gz', moving: 'p1/moving.nii.gz' }] }));
});
test.after(() => rm(folder, { recursive: true }));

test('a pair that fails is a row, the others are as register measures them, and --resume tries the failed one again', async () => {
  const ran = await run(`${evaluate} --out o`);
  assert.is(ran.code, 1);
  assert.match(ran.stderr, /^1\/4 p1 "moving\.nii\.gz", equilibrium: Dice 0\.\d+ → 0\.\d+, TRE \d.* s; (< 1|\d+) s left$/m);
  assert.equal(ran.stderr.match(/^deqreg: warning: .*$/gm), [
    'deqreg: warning: p1/fixed_seg.nii.gz, p1/moving_seg.nii.gz: labels that do not count: 99 in neither map',
  ]);
  assert.match(ran.stderr, /^4\/4 p2 "bad\.nii\.gz", adam: failed: .*bad\.nii\.gz: /m);
  assert.match(ran.stderr, /deqreg: 2 of 4 runs failed; --resume tries them again\n$/);
  assert.match(ran.stdout, /^ +equilibrium +1 of 2 +0\.\d{3} /m);
  assert.equal((await readdir(at('o'))).sort(), results);

  const { runs, means, data, methods, command } = await evaluationOf('o');
  assert.equal(data, { path: 'list.json', name: 'phantoms', split: 'validation', pairs: 2 });
  assert.equal(
    methods.map(({ options }) => options),
    ['equilibrium', 'adam'].map((method) => ({ levels: [2, 1], iterations: [2, 3], affine: 'none', method })),
  );
  assert.is(command, `deqreg ${evaluate} --out o`);
  assert.equal(
    runs.map(({ pair, method, error }) => [pair.slice(0, 2), method, error !== undefined]),
    [
      ['p1', 'equilibrium', false],
      ['p1', 'adam', false],
      ['p2', 'equilibrium', true],
      ['p2', 'adam', true],
    ],
  );
  assert.equal(means[0].means.dice, { n: 1, mean: runs[0].figures!.dice!, sd: null });

  const labels = '--fixed-seg p1/fixed_seg.nii.gz --moving-seg p1/moving_seg.nii.gz --labels 2,3,99';
  for (const [n, method] of ['equilibrium', 'adam'].entries()) {
    const single = `register --fixed p1/fixed.nii.gz --moving p1/moving.nii.gz ${labels} --landmarks p1/landmarks.csv --method ${method} ${quick} --no-report --out r`;
    assert.is((await run(single)).code, 0);
    const { seconds, ...expected } = JSON.parse(await readFile(at('r/metrics.json'), 'utf8'));
    const { seconds: _, ...metrics } = runs[n].metrics!;
    assert.equal(metrics, expected);
    const own = runs[n].figures!;
    assert.equal(
      [own.diceBefore, own.dice, own.hd95, own.treBefore, own.tre, own.folds, own.ndv, own.sdLogJ, own.plannedMiB],
      [
        expected.dice.before,
        expected.dice.mean,
        expected.hd95.mean,
        expected.tre.before,
        expected.tre.after,
        expected.foldingPercent,
        expected.ndvPercent,
        expected.sdLogJ,
        expected.memory.planned.total / 2 ** 20,
      ],
    );
    assert.ok(own.secondsRegistration! > 0 && own.seconds! > own.secondsRegistration!);
    assert.equal(
      runs[n].levels!.map(({ factor, result, iterations, residual }) => [factor, result, iterations, residual]),
      expected.solver.levels.map((level: Record<string, unknown>) => [level.factor, level.result, level.iterations, level.residual]),
    );
  }
  assert.is(await readFile(at('o/evaluation.csv'), 'utf8'), csvOf(runs));

  await copyFile(at('p2/moving.nii.gz'), at('p2/bad.nii.gz'));
  const again = await run(`${evaluate} --out o --resume`);
  assert.equal([again.code, again.stderr.match(/^\d\/4/gm)], [0, ['3/4', '4/4']]);
  assert.equal((await readdir(at('o'))).sort(), results);
  const whole = await evaluationOf('o');
  assert.equal(whole.runs.slice(0, 2), runs.slice(0, 2));
  assert.is(whole.means[1].means.dice!.n, 2);
});

test('the shipped model is that for the first image that can be read; the others are rows with their errors', async () => {
  const pairs = ['p2/cut.nii.gz', 'p1/fixed.nii.gz'].map((fixed) => ({ fixed, moving: 'p1/moving.nii.gz' }));
  await writeFile(at('p2/cut.nii.gz'), (await readFile(at('p2/fixed.nii.gz'))).subarray(0, 2000));
  await writeFile(at('first.json'), JSON.stringify({ validation: pairs }));
  const ran = await run('evaluate --data first.json --method deq --levels 2 --iterations 2 --affine none --out f');
  assert.is(ran.code, 1, ran.stderr);
  const { runs, methods } = await evaluationOf('f');
  assert.match(runs[0].error!, /^p2\/cut\.nii\.gz: truncated gzip stream/);
  assert.is(runs[1].error, undefined);
  assert.is((methods[0].options.model as { name: string }).name, 'brain-mri');
});

test('masks, --labels, --limit, --affine and what the list says of the modality are as register has them', async () => {
  const image = await readVolume(at('p1/fixed.nii.gz'));
  const mask = async (name: string, of: (i: number) => number) =>
    writeNifti(at(name), encodeNifti({ ...image, data: image.data.map((_, v) => of(v % 24)), dtype: 'uint8' }));
  await mask('left.nii.gz', (i) => (i < 14 ? 1 : 0));
  await mask('right.nii.gz', (i) => (i > 5 ? 1 : 0));
  const away = await readVolume(at('p1/moving.nii.gz'));
  const affine = away.affine.map((x, n) => (n === 3 ? x + 500 : x));
  await writeNifti(at('away.nii.gz'), encodeNifti({ ...away, affine, dtype: 'uint8' }));
  const pair = {
    fixed: 'p1/fixed.nii.gz',
    moving: 'p1/moving.nii.gz',
    fixedMask: 'left.nii.gz',
    movingMask: 'right.nii.gz',
    fixedLabel: 'p1/fixed_seg.nii.gz',
    movingLabel: 'p1/moving_seg.nii.gz',
  };
  await writeFile(
    at('masked.json'),
    JSON.stringify({
      labels: [2, 3],
      modality: 'ct',
      validation: [pair, { fixed: pair.fixed, moving: 'away.nii.gz' }, { ...pair, name: 'again' }],
    }),
  );
  const few = '--levels 2 --iterations 3';
  const ran = await run(`evaluate --data masked.json ${few} --labels 41,42 --affine rigid --limit 2 --quiet --out m`);
  assert.is(ran.code, 0, ran.stderr);
  const { runs } = await evaluationOf('m');
  assert.is(runs.length, 2);
  const masks = '--fixed-mask left.nii.gz --moving-mask right.nii.gz';
  const segs = '--fixed-seg p1/fixed_seg.nii.gz --moving-seg p1/moving_seg.nii.gz --labels 41,42';
  const single = `register --fixed p1/fixed.nii.gz --moving p1/moving.nii.gz ${masks} ${segs} --modality ct --affine rigid ${few} --no-report --quiet --out ms`;
  assert.is((await run(single)).code, 0);
  const { seconds: _, ...expected } = JSON.parse(await readFile(at('ms/metrics.json'), 'utf8'));
  const { seconds: __, ...metrics } = runs[0].metrics!;
  assert.equal(metrics, expected);
  assert.equal([metrics.region, Object.keys(metrics.dice!.perLabel)], ['fixed mask', ['41', '42']]);
});

test('--resume with other labels, with --keep, or after a file has changed, measures again', async () => {
  const pair = (moving: string) => ({
    fixed: 'p1/fixed.nii.gz',
    moving,
    fixedLabel: 'p1/fixed_seg.nii.gz',
    movingLabel: 'p1/moving_seg.nii.gz',
  });
  await writeFile(at('damaged.nii.gz'), 'not an image');
  await writeFile(at('half.json'), JSON.stringify({ validation: [pair('p1/moving.nii.gz'), pair('damaged.nii.gz')] }));
  const began = async (more: string) => (await run(`evaluate --data half.json ${quick} --out h ${more}`)).stderr.match(/^\d\/2/gm);
  assert.equal(await began('--labels 2,3'), ['1/2', '2/2']);
  assert.equal(await began('--labels 2,3 --resume'), ['2/2']);
  assert.equal(await began('--labels 2 --resume'), ['1/2', '2/2']);
  assert.equal(Object.keys((await evaluationOf('h')).runs[0].metrics!.dice!.perLabel), ['2']);
  assert.equal(await began('--labels 2 --keep --resume'), ['1/2', '2/2']);
  assert.equal(await began('--labels 2 --keep --resume'), ['2/2']);
  await utimes(at('p1/moving_seg.nii.gz'), 1e9, 1e9);
  assert.equal(await began('--labels 2 --keep --resume'), ['1/2', '2/2']);
});

test('a mean of fewer runs than have ended well says of how many', () => {
  const own = (hd95: number | null) => ({ ...Object.fromEntries(figureNames.map((name) => [name, 1])), hd95 }) as Run['figures'];
  const runs: Run[] = [2, null, 4].map((hd95, n) => ({ pair: `${n}`, method: 'm', figures: own(hd95), levels: [] }));
  const [, line] = meansTable([meansOf(runs, 'm')]);
  assert.match(line, /3\.00 ± 1\.41 \(2 of 3\)/);
  assert.not.match(meansTable([meansOf(runs.slice(0, 1), 'm')])[1], / of /);
});

test('interrupted: exit code 130, the runs that were done are kept, and only the others follow', async () => {
  const ran = await run(`${evaluate} --out i`, '1/4 ');
  assert.is(ran.code, 130);
  assert.match(ran.stderr, /\ndeqreg: interrupted; --resume goes on after the runs that are done\n$/);
  assert.equal(await readdir(at('i')), ['evaluation.jsonl']);
  const without = await run(`${evaluate} --out i`);
  assert.is(without.code, 2);
  assert.match(
    without.stderr,
    /i\/evaluation\.jsonl: an evaluation that did not end \(runs done: \d\); --resume goes on with it, or remove/,
  );
  const kept = (await readFile(at('i/evaluation.jsonl'), 'utf8')).trimEnd().split('\n');
  await writeFile(at('i/evaluation.jsonl'), `${kept[0]}\n${kept[0].slice(0, 100)}`); // as if cut off within a line
  const resumed = await run(`${evaluate} --out i --resume --json`);
  assert.is(resumed.code, 0, resumed.stderr);
  assert.not.match(resumed.stderr, /^1\/4/m);
  const { runs } = await evaluationOf('i');
  assert.equal(JSON.parse(resumed.stdout).runs, runs);
  assert.equal(runs[0], JSON.parse(kept[0]).done);
  const values = (run: Run) => figureNames.filter((name) => !name.startsWith('seconds')).map((name) => run.figures![name]);
  assert.equal(runs.map(values), (await evaluationOf('o')).runs.map(values), 'the same figures as without the interruption');
  assert.equal((await readdir(at('i'))).sort(), results);

  const more = await run(`${evaluate} --out i --resume --json`);
  assert.is(more.code, 0, more.stderr);
  assert.not.match(more.stderr, /^\d\/\d p/m, 'an evaluation that ended is gone on with, too');
});

test('without labels and landmarks: regularity, time and memory', async () => {
  const ran = await run(`evaluate --data single.json ${quick} --out s --quiet`);
  assert.equal([ran.code, ran.stdout, ran.stderr], [0, '', '']);
  const [only] = (await evaluationOf('s')).runs;
  assert.equal([only.pair, only.method, only.figures!.dice, only.figures!.tre], ['fixed/moving', 'equilibrium', null, null]);
  assert.ok(only.figures!.sdLogJ! > 0);
});

test('a GPU that is lost fails one run; the next one has another', async () => {
  await writeFile(
    at('lose.mjs'),
    `import { globals } from ${JSON.stringify(pathToFileURL(root('node_modules/webgpu/index.js')).href)};
const { requestDevice } = globals.GPUAdapter.prototype;
let opened = 0;
globals.GPUAdapter.prototype.requestDevice = async function (...args) {
  const device = await requestDevice.apply(this, args);
  if (!opened++) setTimeout(() => device.destroy());
  return device;
};`,
  );
  const args = `evaluate --data single.json --method equilibrium,adam ${quick} --out g --quiet`.split(' ');
  const ran = await deqreg(folder, args, { env: { NODE_OPTIONS: `--import ${pathToFileURL(at('lose.mjs')).href}` } });
  assert.is(ran.code, 1);
  const [first, second] = (await evaluationOf('g')).runs;
  assert.match(first.error!, /device was lost/);
  assert.is(second.error, undefined);
});

test('--keep: what register writes of each run, in a folder of the pair and the method; and never over files of something else', async () => {
  const kept = `evaluate --data single.json --method equilibrium,adam ${quick} --keep --quiet --out k`;
  assert.is((await run(kept)).code, 0);
  const [pair] = (await readdir(at('k'))).filter((name) => !results.includes(name));
  assert.equal((await readdir(at('k', pair))).sort(), ['adam', 'equilibrium']);
  assert.equal((await readdir(at('k', pair, 'adam'))).sort(), ['displacement.nii.gz', 'metrics.json', 'warped.nii.gz']);
  const single = `register --fixed p1/fixed.nii.gz --moving p1/moving.nii.gz --method adam ${quick} --no-report --quiet --out r2`;
  assert.is((await run(single)).code, 0);
  for (const file of ['displacement.nii.gz', 'warped.nii.gz'])
    assert.equal(await readFile(at('k', pair, 'adam', file)), await readFile(at('r2', file)), file);
  assert.is((await run(kept)).code, 0, 'over its own files');
  await rm(at('k', pair, 'adam', 'metrics.json'));
  const { code, stderr } = await run(kept);
  assert.is(code, 1);
  assert.match(stderr, /adam: has warped\.nii\.gz, displacement\.nii\.gz, but no metrics\.json of deqreg/);
});

test('mean and standard deviation with n − 1; a row of CSV is quoted', () => {
  const some = (value: number | null) => Object.fromEntries(figureNames.map((name) => [name, value])) as Run['figures'];
  const runs: Run[] = [1, 2, 4, null].map((value, n) => ({
    ...{ pair: `${n}`, method: 'a', figures: some(value), levels: [] },
    ...(n < 2 && { dices: { 10: 0.25, 2: 0.5 } }),
    region: n ? 'fixed labels' : 'fixed mask',
  }));
  runs.push({ pair: 'x, "y"', method: 'a', error: 'no\nfile' }, { pair: '0', method: 'b', figures: some(5), levels: [] });
  const { runs: count, failed, means } = meansOf(runs, 'a');
  assert.equal([count, failed, means.dice!.n], [5, 1, 3]);
  assert.ok(Math.abs(means.dice!.mean - 7 / 3) < 1e-12 && Math.abs(means.dice!.sd! - Math.sqrt(7 / 3)) < 1e-12);
  const lines = csvOf(runs).split('\n');
  assert.is(
    lines[0],
    `pair,method,${figureNames.map((name) => figures[name].column).join(',')},region,iterations,rms_residual_voxel,verdicts,error,dice_2,dice_10`,
  );
  assert.match(lines[1], /^0,a,.*,fixed mask,,,,,0.5,0.25$/);
  assert.match(csvOf(runs), /^"x, ""y""",a,,+"no\nfile",,$/m);
  assert.match(mixedRegions(runs)!, /different regions, .*: fixed mask \(1 pairs\), fixed labels \(3 pairs\)$/);
  assert.is(mixedRegions(runs.slice(1)), undefined);
});

const REFUSED: [args: string, code: number, message: RegExp][] = [
  ['--data list.json --method equilibrium,demons --out x', 2, /--method: there is no demons; there are equilibrium, adam/],
  ['--data list.json --method adam,adam --out x', 2, /--method: adam is given twice/],
  ['--data list.json --split val --out x', 2, /--split: val is none of validation, test/],
  ['--data list.json --split test --out x', 1, /list\.json: no pairs for test; .*take the split validation/],
  ['--data list.json --limit 0 --out x', 2, /--limit: must be above 0, got 0/],
  ['--data list.json --levels 2,1 --iterations 2,3,4 --out x', 2, /--iterations: 3 values for 2 levels/],
  ['--data none.json --out x', 1, /none\.json: no such file/],
  ['--data list.json', 2, /--out DIR is missing/],
];
test('refused before any registration, nothing left behind', async () => {
  for (const [args, code, message] of REFUSED) {
    const ran = await run(`evaluate ${args}`);
    assert.match(ran.stderr, message);
    assert.equal([ran.code, ran.stdout, (await readdir(folder)).includes('x')], [code, '', false], args);
  }
});

test('one page that refers to no other', async () => {
  const html = await readFile(at('o/evaluation.html'), 'utf8');
  assert.ok(html.length < 2e5, `${html.length} bytes`);
  assert.equal(references(html), null);
});

if (!browser) console.log('evaluate: Chromium is not installed, so the page is not opened');
else
  test('in Chromium: no error on the console, two plots, a row a run, names as text', async () => {
    for (const out of ['o', 's']) {
      const { dom, console } = await opened(at(out, 'evaluation.html'), folder);
      assert.equal(console, []);
      assert.match(dom, /<body data-state="ready">/);
      assert.is(dom.match(/class="uplot /g)?.length, 2);
      assert.is(dom.match(/<td>(converged|max-iterations|<span[^>]*>(converged|max-iterations))/g)?.length, out === 'o' ? 4 : 1);
      if (out === 'o') assert.match(dom, /<td>p1 "moving\.nii\.gz"<\/td>/);
    }
  });

test.run();
