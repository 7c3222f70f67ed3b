// The device: whose it is, and that its errors surface by name at the next await.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Gpu, Graph, scale, Schedule } from '../src/index.ts';
import { openGpu } from '../src/node.ts';
import { gpu } from './gpu.ts';
import { rejection } from './rejection.ts';

const later = () => new Promise((resolve) => setTimeout(resolve, 50));

function doubling() {
  const graph = new Graph();
  const x = graph.input('x', [8]);
  return { graph, x, y: graph.phase('all', () => graph.output(scale(x, 2))) };
}

test("a device of the caller's own is used with its limits, and outlives the engine", async () => {
  const { device } = await gpu();
  const mine = await Gpu.open({ device });
  assert.is(mine.limits, device.limits);
  const { graph, x, y } = doubling();
  const schedule = await Schedule.build(mine, graph);
  schedule.upload(x, new Float32Array(8).fill(2));
  schedule.run('all');
  assert.equal([...(await schedule.read(y))], Array(8).fill(4));
  schedule.destroy();
  mine.close();
  assert.throws(() => mine.check(), /the GPU device is closed/);
  await later();
  await (await gpu()).idle();
});

test('an error of the device is told at the next await, in one line, and from then on, until another program begins', async () => {
  const broken = await openGpu();
  broken.device.createBuffer({ label: 'bad buffer', size: 16, usage: 0xffff });
  for (let twice = 0; twice < 2; twice++) assert.match(await rejection(broken.idle()), /^WebGPU: .*bad buffer[^\n]*$/);
  const { graph, x, y } = doubling();
  const schedule = await Schedule.build(broken, graph);
  schedule.upload(x, new Float32Array(8).fill(2));
  schedule.run('all');
  assert.equal([...(await schedule.read(y))], Array(8).fill(4));
  broken.close();
});

test('a lost device is told to those who wait and to those who come', async () => {
  const lost = await openGpu();
  const { graph, x, y } = doubling();
  const schedule = await Schedule.build(lost, graph);
  schedule.upload(x, new Float32Array(8));
  schedule.run('all');
  const waiting = schedule.read(y);
  lost.device.destroy();
  assert.match(await rejection(waiting), /^the GPU device was lost: .*; run again, or choose another adapter$/);
  assert.throws(() => schedule.run('all'), /the GPU device was lost/);
  assert.match(await rejection(schedule.runAndRead('all', [y])), /the GPU device was lost/);
});

test('a buffer too large is refused with need and limit', async () => {
  const device = await gpu();
  assert.throws(
    () => device.buffer('huge', device.limits.maxBufferSize + 4, 128, 'input'),
    /^huge needs .* MiB, but a buffer of .* holds .* MiB; use a smaller volume/,
  );
});

test.run();
