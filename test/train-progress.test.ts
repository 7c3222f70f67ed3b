// What a training tells on stderr, and its estimate of the time left.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { duration } from '../src/cli/duration.ts';
import { fitted, secondsLeft, trainProgress } from '../src/cli/train-progress.ts';

test('time left: what a stage was measured to take, and by their voxels for those to come', () => {
  const stages = [
    { levels: [4], steps: 10 },
    { levels: [4, 2], steps: 20 },
    { levels: [2, 1], steps: 5 },
  ];
  const close = (actual: number | undefined, expected: number) =>
    assert.ok(Math.abs(actual! - expected) < 1e-9, `${actual}, not ${expected}`);
  assert.is(secondsLeft(stages, 0, []), undefined);
  close(secondsLeft(stages, 4, [2]), 6 * 2 + 20 * 2 * 9 + 5 * 2 * 72);
  close(secondsLeft(stages, 15, [2, 10]), 15 * 10 + 5 * 10 * 8);
  close(secondsLeft(stages, 15, [undefined, 10]), 15 * 10 + 5 * 10 * 8); // taken up again in the second stage
  close(secondsLeft(stages, 8, [2, 10]), 2 * 2 + 20 * 10 + 5 * 10 * 8); // back in the first
  close(secondsLeft(stages, 35, [2, 10, 80]), 0);
  assert.equal([0.2, 42, 59.7, 1560, 7500].map(duration), ['< 1 s', '42 s', '1 min', '26 min', '2 h 05 min']);
});

test('a line that is too long loses what matters least', () => {
  const parts = ['step 1/9', 'loss 2', 'Dice 0.5', '9 MiB'].map((text, rank) => ({ text, rank }));
  assert.equal(
    [99, 30, 20, 9, 4].map((width) => fitted(parts, width)),
    ['step 1/9, loss 2, Dice 0.5, 9 MiB', 'step 1/9, loss 2, Dice 0.5', 'step 1/9, loss 2', 'step 1/9', 'step'],
  );
});

test('lines elsewhere than on a terminal: every ten steps, at a new stage, at validations, and the last; none mixes stages', () => {
  const lines: string[] = [];
  const { error } = console,
    { isTTY } = process.stderr;
  console.error = (line: string) => lines.push(line);
  process.stderr.isTTY = false;
  try {
    const stages = [
      { levels: [8, 4], steps: 30 },
      { levels: [8, 4, 2], steps: 30 },
    ];
    const record = (step: number) => ({
      ...{ step, levels: step <= 30 ? [8, 4] : [8, 4, 2], loss: -step / 100, solverSteps: 10, residual: 0.0123 },
      ...{ seconds: step <= 30 ? 0.5 : 3, peakBytes: step * 2 ** 20 },
      ...(step === 33 ? { validation: { dice: 0.71 } } : {}),
    });
    const progress = trainProgress(false, stages, 17);
    for (let step = 18; step <= 42; step++) progress.step(record(step));
    progress.rollback({ step: 45, to: 40, loss: NaN, rateScale: 0.5 });
    progress.note('a note');
    progress.end();
    const other = trainProgress(false, stages, 0);
    other.step({ ...record(31), start: { dice: 0.69 } });
    other.step(record(30)); // after a rollback
    trainProgress(true, [], 3).note('quiet');
  } finally {
    console.error = error;
    process.stderr.isTTY = isTTY;
  }
  assert.equal(
    lines.map((line) => /^step \d+/.exec(line)?.[0] ?? line),
    [
      ...['goes on after step 17/60', 'step 18', 'step 20', 'step 30', 'step 31', 'step 33', 'step 40', 'step 45', 'a note', 'step 42'],
      ...['step 31', 'step 30'],
    ],
  );
  assert.match(
    lines[4],
    /^step 31\/60, levels 8,4,2, loss -0\.310 \(mean\), 10 evaluations, residual 0\.012, 3 s\/step, 31 MiB, 1 min left$/,
  );
  assert.match(lines[5], /, loss -0\.320 \(mean\), Dice 0\.710 at 33, /);
  assert.match(lines[10], /, loss -0\.310 \(mean\), Dice 0\.690 at 30, /);
  assert.match(lines[11], /, loss -0\.300 \(mean\), 10 evaluations, /);
  assert.is(lines[7], 'step 45: loss not finite, back to step 40, learning rate × 0.5');
});

test.run();
