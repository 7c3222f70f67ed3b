// The commands plan and train-step: what is planned without a device is what a step then takes, and does not depend on solver steps.
import { tmpdir } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { adjoints } from '../src/deq/problem.ts';
import { deqreg } from './cli-run.ts';
import { gpu } from './gpu.ts';

const small = ['--size', '20,24,16', '--channels', '4'];
const run = (command: string, ...args: string[]) => deqreg(tmpdir(), [command, ...args]);

async function json(command: string, ...args: string[]) {
  const { code, stdout, stderr } = await run(command, ...args, '--json');
  assert.is(code, 0, stderr);
  return JSON.parse(stdout);
}

const peak = async (adjoint: string, steps: number): Promise<number> =>
  (await json('plan', '--train', ...small, '--adjoint', adjoint, '--steps', String(steps))).peakBytes;

for (const adjoint of ['implicit', 'jfb']) {
  test(`plan: ${adjoint} needs the same memory for any number of steps`, async () => {
    const [four, sixteen, sixtyFour] = [await peak(adjoint, 4), await peak(adjoint, 16), await peak(adjoint, 64)];
    assert.ok(four > 0);
    assert.equal([sixteen, sixtyFour], [four, four]);
  });
}

test('plan: unrolled grows by the same bytes a step', async () => {
  const [four, eight, sixteen] = [await peak('unrolled', 4), await peak('unrolled', 8), await peak('unrolled', 16)];
  const step = (eight - four) / 4;
  assert.ok(step > 0);
  assert.ok(Math.abs((sixteen - eight) / 8 - step) < 0.2 * step);
});

test('plan: bytes by tag add up, and are told as a table', async () => {
  const { peakBytes, byTag } = await json('plan', '--train', '--cell', 'deqreg', ...small);
  assert.is(
    Object.values<number>(byTag).reduce((a, b) => a + b),
    peakBytes,
  );
  const { stdout } = await run('plan', '--train', ...small);
  assert.match(stdout, new RegExp(`weight .*activation .*total .* ${peakBytes} bytes`, 's'));
});

for (const adjoint of adjoints) {
  test(`train-step: ${adjoint} takes the planned bytes`, async () => {
    const done = await json('train-step', ...small, '--adjoint', adjoint, '--steps', '3');
    assert.is(done.measuredPeakBytes, await peak(adjoint, 3));
    assert.ok(done.maxRssBytes > done.measuredPeakBytes && done.seconds > 0 && Number.isFinite(done.loss));
    assert.is(done.forward?.iterations, adjoint === 'unrolled' || adjoint === 'checkpointed' ? undefined : 3);
    assert.is(!!done.backward, adjoint === 'implicit');
  });
}

/**
 * Both steps have the same dispatches, so what a driver and JavaScript keep for each of them cancels; glibc gives what the compilers used
 * back at once, so buffers do not land in it. Dawn rounds buffers below 4 MiB up to powers of two, and SwiftShader makes all of that
 * resident (lavapipe what is written): with 3 channels on this grid nearly all are 1.97, 0.49 or 0.25 MiB, and are rounded by 2 %.
 */
test('train-step: resident memory grows by the planned difference', async () => {
  const env = { MALLOC_MMAP_THRESHOLD_: '131072', NODE_OPTIONS: '--max-semi-space-size=1' };
  const unrolled = async (size: string) => {
    const args = ['train-step', '--size', size, '--channels', '3', '--adjoint', 'unrolled', '--steps', '14', '--json'];
    const { code, stdout, stderr } = await deqreg(tmpdir(), args, { env });
    assert.is(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const [little, much] = [await unrolled('16,16,16'), await unrolled('48,56,64')];
  if (!little.adapter.software) return console.log('train-step: resident memory is not compared: the adapter has memory of its own');
  const [planned, resident] = [much.plannedPeakBytes - little.plannedPeakBytes, much.rssBytes - little.rssBytes];
  assert.ok(planned > 250e6 && Math.abs(resident / planned - 1) < 0.1, `${resident} bytes for ${planned} planned`);
});

test('other cells, Jacobians and storage are options', async () => {
  const plain = await peak('implicit', 4);
  for (const [option, value] of [
    ['--cell', 'gradirn'],
    ['--similarity', 'exact'],
    ['--similarity', 'finite-difference'],
    ['--dtype', 'f16'],
  ] as const) {
    const args = [...small, '--steps', '4', option, value];
    const { peakBytes } = await json('plan', '--train', ...args);
    assert.ok(peakBytes > 0 && peakBytes !== plain, `${option} ${value}: ${peakBytes} bytes, as without it`);
    if (value === 'f16' && !(await gpu()).device.features.has('shader-f16')) {
      console.log('train-step: the adapter has no shader-f16; f16 is planned, not run');
      continue;
    }
    const { measuredPeakBytes, loss, ...done } = await json('train-step', ...args);
    assert.is(measuredPeakBytes, peakBytes);
    assert.ok(Number.isFinite(loss) && done[option.slice(2)] === value);
  }
});

for (const [args, message] of [
  [['plan', '--train', ...small, '--adjoint', 'exact'], '--adjoint: exact is none of implicit, jfb, phantom, checkpointed, unrolled'],
  [['train-step', ...small, '--cell', 'other'], '--cell: other is none of deqreg, gradirn'],
  [['plan', '--train', ...small, '--similarity', 'none'], '--similarity: none is none of exact, detached, finite-difference'],
  [['plan', '--train', ...small, '--dtype', 'f8'], '--dtype: f8 is none of f32, f16'],
  [['plan', ...small], '--train is missing: only training is planned here; deqreg register --dry-run reports the memory of a registration'],
  [['plan', '--train', '--size', '20,7,16'], '--size: 20,7,16: at least 8 voxels along each axis are needed'],
  [['train-step', '--size', '20,24,15'], '--size: 20,24,15: at least 16 voxels along each axis are needed'],
  [['plan', '--train', ...small, '--steps', '0'], '--steps: must be above 0, got 0'],
] as const) {
  test(`refused: ${args.join(' ')}`, async () => {
    const { code, stderr } = await deqreg(tmpdir(), args);
    assert.is(code, 2);
    assert.is(stderr.trim(), `deqreg: ${message}`);
  });
}

test.run();
