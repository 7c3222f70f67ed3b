// The page of a training: what is embedded, at any time of the training; what the page's script makes of it.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { axisOfZeros, limits, runningMean } from '../src/cli/report/series.ts';
import { type Rollback, type StepRecord, type TrainingContent, trainingPage } from '../src/cli/report/training.ts';
import { browser, contentOf, opened, references } from './pages.ts';

const record = (step: number, more: Partial<StepRecord> = {}): StepRecord => ({
  step,
  levels: step <= 30 ? [8, 4] : [8, 4, 2],
  loss: -step / 100,
  similarity: step / 200,
  gradientNorm: 1 / step,
  rate: 1e-3,
  solverSteps: 9 + (step % 3),
  residual: 0.01,
  seconds: step <= 30 ? 0.5 : 3,
  peakBytes: step * 2 ** 20,
  ...(step % 20 ? {} : { dice: 0.5 + step / 1000, validation: { dice: 0.5 + step / 1000, lncc: 0.4, foldingPercent: 0, residual: 0.02 } }),
  ...(step % 30 === 1 ? { start: { dice: step === 1 ? 0.4 : 0.53, lncc: 0.3, foldingPercent: 0, residual: 0.03 } } : {}),
  ...more,
});
const records = (from: number, to: number, more?: Partial<StepRecord>) =>
  Array.from({ length: to - from + 1 }, (_, n) => record(from + n, more));
const rollback: Rollback = { event: 'rollback', step: 45, to: 40, loss: NaN, rateScale: 0.5 };
const hostile = `</script><img alt=x onerror=alert(1)>"'&<!--`;
const page = (steps: StepRecord[], events: Rollback[] = [], title = 'pairs') =>
  trainingPage({ title, command: `deqreg train --data ${title}`, records: steps, events, facts: [['Adapter', title]] });
const content = (...of: Parameters<typeof page>): TrainingContent => contentOf(page(...of));

test('one small file that refers to no other, and whose text stays text', () => {
  const html = page(records(1, 60), [rollback], hostile);
  assert.ok(html.length < 2e5, `${html.length} bytes`);
  assert.is(references(html), null);
  assert.is(html.split('</script').length, 3, 'two scripts end');
  assert.not.match(html, /<img/);
  const { title, command, facts } = contentOf(html);
  assert.equal([title, command, facts], [hostile, `deqreg train --data ${hostile}`, [['Adapter', hostile]]]);
});

test('columns, stages and validations of the steps', () => {
  const { steps, columns, stages, validations, seconds } = content(records(1, 60));
  assert.equal([steps.length, steps[0], steps[59]], [60, 1, 60]);
  assert.equal([columns.loss[9], columns.solverSteps[9], columns.gradientNorm[2]], [-0.1, 10, 0.333333]);
  assert.equal(stages, [
    { levels: '8,4', first: 0, last: 29, peakBytes: 30 * 2 ** 20 },
    { levels: '8,4,2', first: 30, last: 59, peakBytes: 60 * 2 ** 20 },
  ]);
  assert.equal(
    validations.map(({ at, stage, figures }) => [at, stage, figures.dice, figures.residual]),
    [
      [-1, 0, 0.4, 0.03],
      [19, 0, 0.52, 0.02],
      [29, 1, 0.53, 0.03],
      [39, 1, 0.54, 0.02],
      [59, 1, 0.56, 0.02],
    ],
  );
  assert.is(seconds, 105);
});

test('what is missing or not finite is a gap', () => {
  const { columns, rollbacks, validations } = content(
    [
      record(1, { loss: NaN, residual: undefined, start: undefined }),
      record(2, { loss: null, gradientNorm: Infinity, validation: { tre: NaN } }),
    ],
    [rollback],
  );
  assert.equal(
    [columns.loss, columns.residual, columns.softDice],
    [
      [null, null],
      [null, 0.01],
      [null, null],
    ],
  );
  assert.is(columns.gradientNorm[1], null);
  assert.is(rollbacks[0].loss, null);
  assert.equal(validations, [{ at: 1, stage: 0, figures: { tre: null } }]);
  assert.equal(content([]).stages, []);
});

test('a step done again takes the place of itself and all after it', () => {
  const { steps, columns, seconds } = content([...records(1, 45), ...records(41, 43, { loss: 7 })]);
  assert.is(steps.length, 43);
  assert.equal(columns.loss.slice(39), [-0.4, 7, 7, 7]);
  assert.is(seconds, 15 + 45 + 9);
});

test('running means begin anew with a stage and pass over gaps', () => {
  assert.equal(runningMean([2, 4, null, 6, 10, 20, 30], [0, 5], 3), [2, 3, null, 5, 8, 20, 25]);
});

test('where all is 0 the axis ends at 1', () => {
  assert.equal(axisOfZeros([[0, null, 0], [null]]), [0, 1]);
  assert.is(axisOfZeros([[0, null], [0.2]]), undefined);
});

test('a value far off is left outside, the spread of the others is not', () => {
  const values = Array.from({ length: 100 }, (_, n) => Math.sin(n));
  assert.is(limits(values), undefined);
  assert.is(limits([]), undefined);
  assert.is(limits([3, 3, 3, 9]), undefined);
  const { low, high, outside } = limits([...values, null, 1e4])!;
  assert.is(outside, 1);
  assert.ok(low < -1 && high > 1 && high < 10);
});

if (!browser) console.log('training-page: Chromium is not installed, so the page is not opened');
else
  test('in Chromium: no error on the console, charts of what there is, and names as text', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'deqreg-training-'));
    try {
      for (const [html, charts] of [
        [page([]), 0],
        [page([record(1, { start: undefined })]), 7],
        [page([record(1)]), 10],
        [page(records(1, 60, { softDice: 0.5 }), [rollback], hostile), 11],
      ] as const) {
        await writeFile(join(folder, 'page.html'), html);
        const { dom, console } = await opened(join(folder, 'page.html'), folder);
        assert.equal(console, []);
        assert.match(dom, /<body data-state="ready">/);
        assert.is(dom.match(/class="uplot /g)?.length ?? 0, charts);
        if (charts !== 11) continue;
        assert.match(dom, /<b>&lt;\/script&gt;&lt;img alt=x/);
        const text = dom.replace(/<[^>]*>/g, '|').replace(/\|+/g, '|');
        assert.ok(text.includes('|Dice, levels 8,4,2|0.530 → 0.560|best 0.560 at 60|'), 'of the last stage alone');
        assert.ok(text.includes('|Loss, levels 8,4,2|−0.330 → −0.580|mean of 5 steps|'));
        assert.ok(text.includes('|8,4|First|0|0.4000|'), 'the untrained weights');
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

test.run();
