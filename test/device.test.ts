// The device: whose it is, and that its errors surface by name at the next await.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Gpu, Graph, kernel, scale, Schedule } from '../src/index.ts';
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

/** A buffer of 8 values that cannot be used: the device refuses it, which only its users' calls tell. */
function unusable(device: GPUDevice): GPUBuffer {
  device.pushErrorScope('validation');
  const buffer = device.createBuffer({ label: 'bad buffer', size: 32, usage: 0xffff });
  void device.popErrorScope();
  return buffer;
}

test('an error of the device is told at the next read, in one line and from then on, to the schedule that caused it and to no other', async () => {
  const device = await gpu();
  const { graph, x, y } = doubling();
  const failed = await Schedule.build(device, graph);
  failed.upload(x, unusable(device.device));
  const healthy = await Schedule.build(device, graph);
  healthy.upload(x, new Float32Array(8).fill(2));
  for (const schedule of [failed, healthy]) schedule.run('all');
  for (let twice = 0; twice < 2; twice++) {
    assert.match(await rejection(failed.read(y)), /^upload x: WebGPU, validation: .*bad buffer[^\n]*$/);
    assert.match(await rejection(failed.runAndRead('all', [y])), /^upload x: WebGPU/);
  }
  assert.equal([...(await healthy.read(y))], Array(8).fill(4));
  for (const schedule of [failed, healthy]) schedule.destroy();
});

test("the caller's own error scopes catch the caller's own errors, and none of a schedule's", async () => {
  const device = await gpu();
  const { graph, x, y } = doubling();
  device.device.pushErrorScope('validation');
  const schedule = await Schedule.build(device, graph);
  schedule.upload(x, unusable(device.device));
  schedule.run('all');
  assert.match(await rejection(schedule.read(y)), /^upload x: WebGPU, validation/);
  assert.is(await device.device.popErrorScope(), null);
  device.device.pushErrorScope('validation');
  device.device.createBuffer({ label: 'not ours', size: 16, usage: 0xffff });
  assert.match((await device.device.popErrorScope())!.message, /not ours/);
  schedule.destroy();
});

/** A device that does some things in its own way. */
const like = (device: GPUDevice, own: Partial<Record<keyof GPUDevice, unknown>>): GPUDevice =>
  new Proxy(device, {
    get: (_, name: keyof GPUDevice) => {
      const value = own[name] ?? device[name];
      return typeof value === 'function' ? (value as () => unknown).bind(device) : value;
    },
  });

/** The device as if its memory were full: scopes catch that, and what is invalid for it. */
function full(device: GPUDevice): GPUDevice {
  const scopes: GPUErrorFilter[] = [];
  return like(device, {
    pushErrorScope(kind: GPUErrorFilter) {
      scopes.push(kind);
      device.pushErrorScope(kind);
    },
    async popErrorScope() {
      const message = { 'out-of-memory': 'no memory left', validation: 'an invalid buffer', internal: undefined }[scopes.pop()!];
      await device.popErrorScope();
      return message ? { message } : null;
    },
  });
}

test('memory that the device does not have is told by the build that asks for it, and nothing of it stays', async () => {
  const short = await Gpu.open({ device: full((await gpu()).device) });
  assert.match(
    await rejection(Schedule.build(short, doubling().graph)),
    /^a schedule's .* MiB on .*: WebGPU, out-of-memory: no memory left; use a smaller volume or coarser levels$/,
  );
  assert.is(short.ledger.live.total, 0);
});

test('calls that throw leave no error scope behind', async () => {
  const { device } = await gpu();
  let open = 0;
  const counting = await Gpu.open({
    device: like(device, {
      pushErrorScope(kind: GPUErrorFilter) {
        open++;
        device.pushErrorScope(kind);
      },
      popErrorScope() {
        open--;
        return device.popErrorScope();
      },
    }),
  });
  const failing = () => {
    throw new Error('in the middle');
  };
  assert.throws(() => counting.scoped(failing), /in the middle/);
  await later();
  assert.is(open, 0);
});

const filling = (value: number) =>
  kernel(
    'filling',
    `// y = ${value}
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;
@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = ${value}.0; }
}`,
  );

test('a pipeline that was not made is tried again; kernels of one name are told apart by their text', async () => {
  const { device } = await gpu();
  let tries = 0;
  const flaky = await Gpu.open({
    device: like(device, {
      createComputePipelineAsync: (descriptor: GPUComputePipelineDescriptor) =>
        tries++ ? device.createComputePipelineAsync(descriptor) : Promise.reject(new Error('the driver is tired')),
    }),
  });
  assert.match(await rejection(flaky.pipeline(filling(1), { WG: 64 })), /kernels\/filling\.wgsl .*the driver is tired/);
  const made = await flaky.pipeline(filling(1), { WG: 64 });
  assert.is(await flaky.pipeline(filling(1), { WG: 64 }), made, 'once');
  assert.is.not(await flaky.pipeline(filling(2), { WG: 64 }), made);
  assert.is.not(await flaky.pipeline(filling(1), { WG: 32 }), made);
  assert.is(tries, 4);
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
