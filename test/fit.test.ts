// What of training fits into how much memory: each answer against the planner that training uses, and once against a run of it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { memory } from '../src/cli/args.ts';
import { plan } from '../src/graph/plan.ts';
import { levelGrid, levelSpacing } from '../src/register/pyramid.ts';
import { choices, type Fit, fitsOf, optionsOf, recommended, stagesTo } from '../src/train/fit.ts';
import { defaults } from '../src/train/options.ts';
import { unitGrid } from '../src/train/step.ts';
import { traceStage } from '../src/train/train.ts';
import { deqreg } from './cli-run.ts';

const folder = mkdtempSync(join(tmpdir(), 'deqreg-fit-'));
const SIZE: [number, number, number] = [40, 48, 56];
const MIB = 2 ** 20;

/** Bytes of the largest stage of a run on images of this size. */
function trained(way: Omit<Fit, 'bytes' | 'fits'>, labels = 0): number {
  const options = optionsOf(way);
  const subject = { id: 'a', image: new Float32Array(), ...(labels && { labels: new Float32Array() }) };
  const values = Array.from({ length: labels }, (_, i) => i + 1);
  return Math.max(
    ...options.stages.map((stage) => {
      const grid = levelGrid(unitGrid(SIZE), levelSpacing(unitGrid(SIZE), stage.levels.at(-1)!));
      return plan(traceStage(options, { grid, subjects: [subject, subject] }, stage, values).graph).peak.total;
    }),
  );
}

for (const [bytes, labels, dtype] of [
  [40 * MIB, 0, 'f16'],
  [60 * MIB, 3, 'f32'],
] as const) {
  test(`what fits ${bytes / MIB} MiB with ${labels} labels needs less by the planner of training, and the next wider cell more`, () => {
    const fits = fitsOf({ size: SIZE, bytes, labels, among: { finest: [1, 2], dtype: [dtype] } });
    assert.is(fits.length, 10);
    assert.ok(fits.some((fit) => fit.fits) && fits.some((fit) => !fit.fits));
    for (const fit of fits) {
      const wider = { ...fit, channels: 2 * fit.channels };
      const told = `${fit.size} ${fit.dtype} ${fit.adjoint} ${fit.channels}`;
      assert.is(trained(fit, labels), fit.bytes, told);
      assert.is(fit.fits, fit.bytes <= bytes, told);
      if (!fit.fits) assert.is(fit.channels, Math.min(...choices.channels), told);
      else if (choices.channels.includes(wider.channels)) assert.ok(trained(wider, labels) > bytes, told);
    }
  });
}

test('recommended: the finest level first, then f32, then channels, then the gradient; nothing where nothing fits', () => {
  const fit = (part: Partial<Fit>): Fit => ({
    finest: 2,
    size: SIZE,
    channels: 16,
    dtype: 'f32',
    adjoint: 'jfb',
    bytes: 1,
    fits: true,
    ...part,
  });
  const order = [
    fit({ finest: 1, channels: 8, dtype: 'f16' }),
    fit({ channels: 32 }),
    fit({ adjoint: 'implicit' }),
    fit({}),
    fit({ channels: 64, dtype: 'f16' }),
    fit({ finest: 4, channels: 64 }),
  ];
  for (let first = 0; first < order.length; first++) assert.is(recommended(order.slice(first).reverse()), order[first]);
  assert.is(recommended([fit({ fits: false })]), undefined);
});

test('the stages of a run reach the level asked for, and none goes beyond', () => {
  const levels = (finest: number) => stagesTo(finest, defaults.stages).map((stage) => stage.levels);
  assert.equal(levels(1), [[8, 4], [8, 4, 2, 1]]); // prettier-ignore
  assert.equal(levels(2), [[8, 4], [8, 4, 2]]); // prettier-ignore
  assert.equal(levels(4), [[8, 4]]);
});

test('amounts of memory, and what is none', () => {
  assert.equal(['8GiB', '8 GB', '8192MiB', '1.5gib', '200B'].map(memory), [2 ** 33, 8e9, 2 ** 33, 1.5 * 2 ** 30, 200]);
  for (const [text, message] of [
    ['8', /^a number and its unit are needed, such as 8GiB, 8GB or 8192MiB; got 8$/],
    ['-1GiB', /^a number and its unit are needed/],
    ['8XB', /^unknown unit XB; use MiB, GiB, MB or GB$/],
    ['0GiB', /^0GiB is no amount of memory$/],
  ] as const)
    assert.throws(() => memory(text), message);
});

test('plan --memory: what it recommends is what deqreg train then takes', async () => {
  const at = (name: string) => join(folder, name);
  const ran = async (...args: string[]) => {
    const { code, stdout, stderr } = await deqreg(folder, args);
    assert.is(code, 0, stderr);
    return stdout;
  };
  await ran('phantom', '--size', '32,32,32', '--seed', '1', '--out', 'p');
  writeFileSync(
    at('data.json'),
    JSON.stringify({
      name: 'p',
      modality: { '0': 'MR' },
      training: ['fixed', 'moving'].map((side) => ({ image: `p/${side}.nii.gz`, label: `p/${side}_seg.nii.gz`, subject: side })),
    }),
  );
  const asked = [
    'plan',
    '--train',
    '--size',
    '32,32,32',
    '--spacing',
    '5,6,7',
    '--memory',
    '30MiB',
    '--channels',
    '4',
    '--adjoint',
    'jfb',
    '--dtype',
    'f32',
  ];
  const { recommended: best, fits } = JSON.parse(await ran(...asked, '--json'));
  assert.is(fits.length, 3);
  assert.ok(best.fits && best.bytes <= 30 * MIB);
  const config = { ...best.config, stages: best.config.stages.map((stage: object) => ({ ...stage, steps: 1 })), loss: { dice: 0 } };
  writeFileSync(at('config.json'), JSON.stringify(config));
  await ran('train', '--data', 'data.json', '--out', 'run', '--config', 'config.json');
  const log = readFileSync(at('run/log.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line)); // prettier-ignore
  assert.equal(log.at(-1).levels, config.stages.at(-1).levels);
  assert.is(Math.max(...log.map(({ peakBytes }) => peakBytes)), best.bytes);

  const table = await ran(...asked);
  assert.match(table, /finest level +storage +jfb\n +32,32,32 \(full resolution\) +f32 +4: [\d.]+ MiB\n/);
  assert.match(table, /The largest: 32,32,32, 4 channels, jfb, f32, [\d.]+ MiB\.\n +deqreg train --data data\.json/);
  assert.match(
    await ran(...asked.map((word) => (word === '30MiB' ? '1MiB' : word))),
    /Nothing fits\. The least of these is [\d.]+ MiB: jfb/,
  );
});

test('plan --memory: wrong usage is refused by name', async () => {
  for (const [args, message] of [
    [['--memory', '8'], '--memory: a number and its unit are needed, such as 8GiB, 8GB or 8192MiB; got 8'],
    [['--memory', '8GiB', '--labels', '0'], '--labels: must be above 0, got 0'],
    [['--labels', '3'], '--labels applies to --memory'],
    [['--spacing', '1,1,2'], '--spacing applies to --memory'],
    [['--memory', '8GiB', '--spacing', '1,0,1'], '--spacing: three numbers above 0 are needed, got 1,0,1'],
    [['--memory', '8GiB', '--channels', '0'], '--channels: must be above 0, got 0'],
  ] as [string[], string][]) {
    const { code, stderr } = await deqreg(folder, ['plan', '--train', '--size', '40,48,56', ...args]);
    assert.is(stderr.trim(), `deqreg: ${message}`);
    assert.is(code, 2);
  }
  const { code, stderr } = await deqreg(folder, ['plan', '--train', '--size', '40,48,6', '--memory', '8GiB']);
  assert.is(code, 2);
  assert.match(stderr, /--size: 40,48,6: too few voxels; at least 8 along each axis are needed/);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
