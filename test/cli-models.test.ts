// Trained models on the command line: the shipped ones, found beside the program, and those in files.
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeModel, encodeSafetensors } from '../src/index.ts';
import { deqreg, type Ran } from './cli-run.ts';
import { at as inRepository } from './root.ts';
import { card, handMade } from './trained.ts';

let folder = '';
const at = (...parts: string[]) => join(folder, ...parts);
const brain = { ...card, name: 'hand-brain', summary: 'Brains <b>by hand</b>.' };
const bytes = {
  brain: encodeModel(handMade(0.6, { iterations: [4, 3], tolerance: [0.002] }), brain),
  lung: encodeModel(handMade(0.5, { modality: 'ct' }), { ...card, name: 'hand-lung' }),
};
const pair = '--fixed p/fixed.nii.gz --moving p/moving.nii.gz --fixed-seg p/fixed_seg.nii.gz --moving-seg p/moving_seg.nii.gz';

/** Runs a copy of the program that has these models beside it; `bare` has no folder of models. */
const run = (engine: 'both' | 'lung' | 'bare', args: string): Promise<Ran> =>
  deqreg(folder, args.split(' '), { program: at(engine, 'dist/deqreg.js') });
const succeed = async (engine: Parameters<typeof run>[0], args: string) => {
  const ran = await run(engine, args);
  assert.is(ran.code, 0, ran.stderr);
  return ran;
};

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'deqreg-models-'));
  for (const [engine, models] of Object.entries({ both: ['brain', 'lung'], lung: ['lung'], bare: [] })) {
    await mkdir(at(engine, 'dist'), { recursive: true });
    await cp(inRepository('dist/deqreg.js'), at(engine, 'dist/deqreg.js'));
    await symlink(inRepository('node_modules'), at(engine, 'node_modules'));
    if (models.length) await mkdir(at(engine, 'weights'));
    for (const name of models) await writeFile(at(engine, 'weights', `${name}.safetensors`), bytes[name as keyof typeof bytes]);
  }
  await writeFile(at('package.json'), '{ "type": "module" }');
  await writeFile(at('brain.safetensors'), bytes.brain);
  await writeFile(at('other.safetensors'), encodeSafetensors(new Map()));
  await succeed('bare', 'phantom --out p --kind brain --size 32,40,48 --seed 1');
});
test.after(() => rm(folder, { recursive: true }));

test('models: shipped ones, files, and none', async () => {
  const listed = JSON.parse((await succeed('both', 'models --json')).stdout);
  assert.equal(
    listed.map(({ modality, card }: { modality: string; card: { name: string } }) => [card.name, modality]),
    [
      ['hand-brain', 'mri'],
      ['hand-lung', 'ct'],
    ],
  );
  assert.equal([listed[0].card, listed[0].iterations, listed[0].channels], [brain, [4, 3], 4]);
  assert.is(listed[0].sha256, createHash('sha256').update(bytes.brain).digest('hex'));
  const { stdout } = await succeed('both', 'models');
  assert.match(stdout, /^hand-brain: Brains[^]*\n\nhand-lung: /);
  assert.match(stdout, /\n {2}solved by +4, 3 evaluations at most, to 0\.002 voxels\n[^]*\n {2}dice +0\.5\n/);
  assert.match((await succeed('bare', 'models brain.safetensors')).stdout, /^hand-brain: [^]*\n {2}file +brain\.safetensors\n/);
  assert.match((await succeed('bare', 'models')).stdout, /^No models are shipped with this deqreg: .*weights/);
  assert.is((await succeed('bare', 'models --json')).stdout, '[]\n');
});

test('register --method deq takes the shipped model of the modality, and says which; planned exactly', async () => {
  const ran = await succeed('both', `register ${pair} --out o --method deq --refine 3`);
  assert.match(ran.stderr, /^level 4\/4: refine at full resolution, at most 3 iterations$/m);
  assert.match(ran.stdout, /\n {2}model +hand-brain \(.*brain\.safetensors\): Brains/);
  assert.match(ran.stdout, /\n {2}solver +deq: 1\/4 .*, 1\/1 (refined by|converged after) 3\n/);
  const m = JSON.parse(await readFile(at('o/metrics.json'), 'utf8'));
  const sha256 = createHash('sha256').update(bytes.brain).digest('hex');
  assert.equal([m.model.name, m.model.sha256, m.model.summary], ['hand-brain', sha256, brain.summary]);
  assert.match(m.model.file, /both.weights.brain\.safetensors$/);
  assert.equal(
    m.solver.levels.map((level: { stage?: string; maxIterations: number }) => [level.stage, level.maxIterations]),
    [
      [undefined, 4],
      [undefined, 4],
      [undefined, 3],
      ['refine', 3],
    ],
  );
  assert.equal([m.options.method, m.options.refine.iterations, m.options.model], ['deq', 3, undefined]);
  assert.ok(m.dice.mean > m.dice.before + 0.05, JSON.stringify(m.dice));
  assert.equal(m.memory.measured, m.memory.planned);
  const page = await readFile(at('o/report.html'), 'utf8');
  assert.match(page, /"model":\{"name":"hand-brain","summary":"Brains \\u003cb>/);

  const dry = JSON.parse((await succeed('both', `register ${pair} --dry-run --json --method deq --refine 3`)).stdout);
  assert.equal([dry.memory.planned, dry.options, dry.model], [m.memory.planned, { ...m.options, labels: undefined }, m.model].map(json));
});
const json = (value: unknown) => JSON.parse(JSON.stringify(value));

test('a model from a file; a modality that is given decides which is shipped', async () => {
  await succeed('bare', `register ${pair} --out f --method deq --model brain.safetensors --iterations 1 --levels 2 --quiet`);
  const m = JSON.parse(await readFile(at('f/metrics.json'), 'utf8'));
  assert.equal([m.model.file, m.solver.levels.length, m.solver.levels[0].maxIterations], ['brain.safetensors', 1, 1]);
  await succeed('lung', 'phantom --out l --kind lung --size 32,40,48');
  const dry = (args: string) =>
    succeed('both', `register --fixed l/fixed.nii.gz --moving l/moving.nii.gz --dry-run --json --method deq ${args}`);
  assert.is(JSON.parse((await dry('--refine 0')).stdout).model.name, 'hand-lung');
  assert.is(JSON.parse((await dry('--modality mri')).stdout).model.name, 'hand-brain');
});

test('what does not fit is refused by name', async () => {
  const deq = `register ${pair} --out n --method deq`;
  for (const [engine, args, code, message] of [
    [
      'bare',
      deq,
      2,
      /^deqreg: no models are shipped with this deqreg: .*weights.* has no \.safetensors file; choose one with --model FILE/,
    ],
    ['lung', deq, 2, /MRI, by the values of the fixed image, has no shipped model; there are hand-lung \(ct\); choose one with --model/],
    ['both', `${deq} --modality ct --model brain.safetensors`, 2, /--modality ct contradicts the model, which was trained on mri/],
    ['both', `${deq} --lambda 0.1`, 2, /--lambda does not apply to this model: it was made without one/],
    ['both', `${deq} --window 7`, 2, /--window does not apply to method deq/],
    ['both', `${deq} --refine -1`, 2, /--refine/],
    ['both', `${deq} --model other.safetensors`, 1, /^deqreg: other\.safetensors: no deqreg model/],
    ['both', `${deq} --model absent.safetensors`, 1, /^deqreg: absent\.safetensors: no such file/],
    ['both', `register ${pair} --out n --model brain.safetensors`, 2, /--model does not apply without --method deq/],
    ['both', 'models other.safetensors', 1, /^deqreg: other\.safetensors: no deqreg model/],
  ] as const) {
    const ran = await run(engine, args);
    assert.match(ran.stderr, message);
    assert.equal([ran.code, ran.stdout], [code, ''], args);
  }
});

test.run();
