// deqreg train, as its users run it: killed and gone on with, stopped by a signal, and what it refuses.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { defaults, resolveTrainOptions } from '../src/train/options.ts';
import { readTrainingData } from '../src/cli/training-data.ts';
import { encodeNifti, parseModel, readDataList, readModel, readVolume, writeNifti } from '../src/node.ts';
import { parseCheckpoint } from '../src/train/checkpoint.ts';
import { command, deqreg } from './cli-run.ts';
import { gpu } from './gpu.ts';

const folder = mkdtempSync(join(tmpdir(), 'deqreg-train-'));
const at = (...parts: string[]) => join(folder, ...parts);
for (const seed of ['1', '2', '3']) {
  const { code, stderr } = await deqreg(folder, ['phantom', '--size', '20,24,28', '--seed', seed, '--out', `p${seed}`]);
  assert.is(code, 0, stderr);
}
const images = (seed: number) =>
  ['fixed', 'moving'].map((side) => ({
    image: `p${seed}/${side}.nii.gz`,
    label: `p${seed}/${side}_seg.nii.gz`,
    subject: `${seed}${side}`,
  }));
const [fixed, moving] = images(3);
const pair = { name: 'three', fixed: fixed.image, moving: moving.image, fixedLabel: fixed.label, movingLabel: moving.label };
writeFileSync(
  at('data.json'),
  JSON.stringify({
    name: 'phantoms',
    modality: { '0': 'MR' },
    licence: 'synthetic',
    training: [...images(1), ...images(2)],
    validation: [pair],
  }),
);
const config = {
  channels: 4,
  window: 5,
  stages: [
    { levels: [2], steps: 6 },
    { levels: [2, 1], steps: 6 },
  ],
  rate: 5e-3,
  warmUp: 2,
  solver: { minIterations: 3, maxIterations: 5, tolerance: 0.01 },
  checkpointEvery: 2,
  validateEvery: 4,
};
writeFileSync(at('config.json'), JSON.stringify(config));
const train = (out: string, ...more: string[]) => ['train', '--data', 'data.json', '--config', 'config.json', '--out', out, ...more];
const lines = (out: string): { step: number; dice?: number; start?: Record<string, number> }[] =>
  existsSync(at(out, 'log.jsonl'))
    ? readFileSync(at(out, 'log.jsonl'), 'utf8').split('\n').filter((line) => line.endsWith('}')).map((line) => JSON.parse(line)) // prettier-ignore
    : [];
const weights = async (out: string) =>
  [...(await readModel(at(out, 'model.safetensors'))).model.values].map(([name, { data }]) => [
    name,
    Buffer.from(data.slice().buffer).toString('base64'),
  ]);

const checkpointStep = (out: string): number => parseCheckpoint(out, readFileSync(at(out, 'checkpoint.safetensors'))).step;

/** Runs until the log has a step; then nobody reads its output any more, and it gets a signal. How it ended. */
async function signalledAt(step: number, signal: NodeJS.Signals, args: string[]): Promise<number | string | null> {
  const child = spawn(process.execPath, [command, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | string | null>((resolve) => child.on('close', (code, by) => resolve(by ?? code)));
  const out = args[args.indexOf('--out') + 1];
  for (const stream of [child.stdout, child.stderr]) stream.resume();
  while (!lines(out).some((line) => line.step >= step) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 20));
  for (const stream of [child.stdout, child.stderr]) stream.destroy();
  child.kill(signal);
  return ended;
}

/** Runs until the log has a step, then kills the process as it is. */
async function killedAt(step: number, args: string[]): Promise<void> {
  assert.is(await signalledAt(step, 'SIGKILL', args), 'SIGKILL', `it ended before step ${step}`);
}

test('a run: log, model with its card, curves, checkpoint', async () => {
  const { code, stdout, stderr } = await deqreg(folder, train('whole', '--name', 'small'));
  assert.is(code, 0, stderr);
  assert.match(stdout, /12 steps in .*best at step \d+, levels 2,1: dice 0\.\d+.*model: whole\/model\.safetensors/s);
  const log = lines('whole') as unknown as Record<string, number>[];
  assert.equal(log.map(({ step }) => step), Array.from({ length: 12 }, (_, i) => i + 1)); // prettier-ignore
  for (const record of log)
    for (const field of ['loss', 'solverSteps', 'residual', 'seconds', 'peakBytes', 'gradientNorm', 'rate'])
      assert.ok(Number.isFinite(record[field]), field);
  assert.equal(log.filter(({ dice }) => dice !== undefined).map(({ step }) => step), [4, 6, 8, 12]); // prettier-ignore
  const starts = lines('whole').filter(({ start }) => start);
  assert.equal(starts.map(({ step }) => step), [1, 7]); // prettier-ignore
  assert.ok(starts.every(({ start }) => start!.dice > 0.3 && start!.foldingPercent >= 0));
  const { model, card } = parseModel('model', readFileSync(at('whole', 'model.safetensors')));
  assert.equal([card.name, card.licence, card.seed, card.adjoint], ['small', 'synthetic', 1, 'jfb']);
  assert.match(card.data, /^phantoms: 4 images \(4 with labels\)$/);
  assert.match(card.command, /^deqreg train --data data\.json --config config\.json --out whole --name small /);
  assert.ok((card.validation as { dice: number }).dice > 0.4);
  assert.is(card.steps, Number(/best at step (\d+)/.exec(stdout)![1]), 'those of the weights that are kept');
  assert.equal(
    [model.cell, model.channels, model.window, model.modality, model.lambda],
    ['deqreg', 4, 5, 'mri', defaults.lambda.slice(-2)],
  );
  assert.match(readFileSync(at('whole', 'training.html'), 'utf8'), /<title>deqreg training<\/title>/);
  assert.equal(readdirSync(at('whole')).sort(), ['checkpoint.safetensors', 'log.jsonl', 'model.safetensors', 'training.html']);
});

test('masks of the list: what is outside of one is background', async () => {
  const [one, other] = images(1);
  const { image, label } = one;
  const volume = await readVolume(at(image));
  const half = volume.data.map((_, v) => Number(v % volume.size[0] < volume.size[0] / 2));
  await writeNifti(at('half.nii.gz'), encodeNifti({ ...volume, data: half, dtype: 'uint8' }));
  const pair = { fixed: image, moving: other.image, fixedMask: 'half.nii.gz', fixedLabel: label, movingLabel: other.label };
  writeFileSync(
    at('masks.json'),
    JSON.stringify({ training: [images(2)[0], { ...images(2)[1], mask: 'half.nii.gz' }], validation: [pair] }),
  );
  const told: string[] = [];
  const { set, validation } = await readTrainingData(
    await readDataList(at('masks.json')),
    await gpu(),
    1,
    () => {},
    (lines) => told.push(...lines),
  );
  const filled = set.subjects.map(({ image }) => [0, 1].map((inside) => image.some((value, v) => half[v] === inside && value > 0)));
  assert.equal(filled, [[true, true], [false, true]]); // prettier-ignore
  assert.equal([...validation[0].fixed.mask!], [...half]);
  assert.equal([validation[0].moving.mask, validation[0].segmentation!.labels.length > 3, told], [undefined, true, []]);
});

test('pairs that the list prescribes are trained on, and no others', async () => {
  const list = JSON.parse(readFileSync(at('data.json'), 'utf8'));
  const [, b, c] = [...images(1), ...images(2)].map(({ image }) => image);
  writeFileSync(at('paired.json'), JSON.stringify({ ...list, validation: [], training_paired_images: [{ fixed: b, moving: c }] }));
  writeFileSync(at('short.json'), JSON.stringify({ ...config, stages: [{ levels: [2], steps: 4 }] }));
  const { code, stderr } = await deqreg(folder, ['train', '--data', 'paired.json', '--config', 'short.json', '--out', 'paired']);
  assert.is(code, 0, stderr);
  const drawn = lines('paired') as unknown as { pair: string[] }[];
  assert.equal([drawn.length, [...new Set(drawn.map((line) => `${line.pair}`))]], [4, ['1moving,2fixed']]);
  assert.match(parseModel('m', readFileSync(at('paired', 'model.safetensors'))).card.data, /4 images \(4 with labels\), 1 pair of them$/);
});

test('killed three times and gone on with: the weights of an undisturbed run, bit for bit, and a log without gaps', async () => {
  await killedAt(3, train('killed'));
  await killedAt(5, train('killed', '--resume'));
  await killedAt(9, train('killed', '--resume'));
  const kept = checkpointStep('killed');
  assert.ok(kept >= 8, `${kept}`); // the last checkpoint before step 9, or a later one that the run still reached
  const { code, stderr } = await deqreg(folder, train('killed', '--resume'));
  assert.is(code, 0, stderr);
  assert.ok(stderr.includes(`goes on after step ${kept}/12`), stderr);
  assert.equal(await weights('killed'), await weights('whole'));
  const figures = (out: string) => lines(out).map(({ step, dice, start }) => [step, dice, start]);
  assert.equal(figures('killed'), figures('whole'));
});

test('a signal ends it after the step, with a checkpoint from which it goes on', async () => {
  const stopped = await deqreg(folder, train('stopped'), { interruptAt: 'step 1/12' });
  assert.is(stopped.code, 130);
  assert.match(stopped.stderr, /stopped after step \d+ of 12; the same command with --resume goes on/);
  const { code, stderr } = await deqreg(folder, train('stopped', '--resume'));
  assert.is(code, 0, stderr);
  assert.equal(await weights('stopped'), await weights('whole'));
});

test('a terminal that is gone: the run ends as with a signal of its own, though nobody reads what it tells', async () => {
  assert.is(await signalledAt(1, 'SIGHUP', train('hung-up')), 129);
  assert.is(checkpointStep('hung-up'), lines('hung-up').at(-1)!.step);
  const { code, stderr } = await deqreg(folder, train('hung-up', '--resume'));
  assert.is(code, 0, stderr);
  assert.equal(await weights('hung-up'), await weights('whole'));
});

test('a disk that is full: a message, and the last checkpoint intact', async () => {
  await killedAt(5, train('full'));
  const before = readFileSync(at('full', 'checkpoint.safetensors'));
  rmSync(at('full', 'model.safetensors'));
  const { code, stderr } = await deqreg(folder, train('full', '--resume'), { env: { NODE_OPTIONS: `--import=${fullDisk}` } });
  assert.is(code, 1);
  const kept = checkpointStep('full');
  assert.ok(kept >= 4, `${kept}`);
  assert.match(stderr, /cannot write: no space left on the device; /);
  assert.ok(stderr.includes(`the checkpoint of step ${kept} is in full, --resume goes on from there`), stderr);
  assert.equal(readFileSync(at('full', 'checkpoint.safetensors')), before);
});
/** A module that lets every file of weights fail to be written. */
const fullDisk = `data:text/javascript,${encodeURIComponent(`
  import fs from 'node:fs/promises';
  import { syncBuiltinESMExports } from 'node:module';
  const write = fs.writeFile;
  fs.writeFile = (path, ...rest) => String(path).includes('checkpoint')
    ? Promise.reject(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })) : write(path, ...rest);
  syncBuiltinESMExports();
`)}`;

test('--show: what the options, the file and the defaults make together, and nothing is trained', async () => {
  const options = '--cell gradirn --channels 6 --adjoint unrolled --unrolled-steps 3 --similarity exact --seed 7';
  const { code, stdout } = await deqreg(folder, [...train('shown'), ...options.split(' '), '--show']);
  assert.is(code, 0);
  assert.equal(JSON.parse(stdout), {
    ...resolveTrainOptions(config),
    ...{ cell: 'gradirn', channels: 6, adjoint: 'unrolled', unrolledSteps: 3, similarity: 'exact', seed: 7 },
  });
  const demo = await deqreg(folder, ['train', '--demo', '--show']);
  assert.equal(JSON.parse(demo.stdout).window, 7);
  assert.not.ok(existsSync(at('shown')));
});

test('wrong usage is refused by name', async () => {
  writeFileSync(at('odd.json'), '{"rate": -1}');
  mkdirSync(at('kept'));
  writeFileSync(at('kept/model.safetensors'), 'of before');
  writeFileSync(at('none.json'), '{"name": "none", "validation": [{"fixed": "p1/fixed.nii.gz", "moving": "p1/moving.nii.gz"}]}');
  const data = ['train', '--data', 'data.json', '--out', 'refused'];
  for (const [args, code, message] of [
    [['train', '--out', 'refused'], 2, '--data FILE is missing (or --demo)'],
    [[...data, '--demo'], 2, '--data and --demo exclude each other'],
    [train('kept'), 2, '--out: kept has model.safetensors, which this run would replace; choose another folder'],
    [[...data, '--resume'], 2, '--resume: there is no refused/checkpoint.safetensors'],
    [
      train('whole'),
      2,
      '--out: whole/checkpoint.safetensors is the checkpoint of another run; go on with it by --resume, or choose another folder',
    ],
    [
      train('whole', '--resume', '--seed', '2'),
      1,
      'train: the checkpoint was made with other seed; the checkpoint of step 12 is in whole, --resume goes on from there',
    ],
    [[...data, '--config', 'odd.json'], 2, 'train: rate must be between 0 and 1, got -1'],
    [[...data, '--config', 'missing.json'], 2, "--config: missing.json: ENOENT: no such file or directory, open 'missing.json'"],
    [
      ['train', '--data', 'none.json', '--out', 'refused'],
      1,
      'none.json: training: 0 images, at least 1 needed; list them as "training": [{"image": "a.nii.gz"}]',
    ],
  ] as [string[], number, string][]) {
    const ran = await deqreg(folder, args);
    assert.is(ran.stderr.trim().split('\n').at(-1), `deqreg: ${message}`);
    assert.is(ran.code, code);
  }
  assert.not.ok(existsSync(at('refused')), 'nothing is left of a refused run');
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
