// What the planner, a schedule, a gradient and an adapter refuse, and with which words.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernel } from '../src/gpu/kernel.ts';
import type { Op } from '../src/graph/graph.ts';
import {
  add,
  anderson,
  andersonState,
  assign,
  checkLimits,
  concat,
  gradientClip,
  Graph,
  mul,
  plan,
  spread,
  reset,
  resetAnderson,
  scale,
  Schedule,
  type Shape,
  slice,
  type Tensor,
  vjp,
} from '../src/index.ts';
import { gpu } from './gpu.ts';
import { rejection } from './rejection.ts';

test('a schedule refuses what is not there, and all else before a read has ended', async () => {
  const graph = new Graph();
  const x = graph.input('x', [8]),
    state = graph.variable('state', [8]);
  const y = graph.phase('a', () => graph.output(scale(x, 2)));
  graph.phase('b', () => assign(state, add(y, x)));
  const schedule = await Schedule.build(await gpu(), graph);
  assert.throws(() => schedule.run('a'), /^phase a reads x \[8\], which nothing has written yet; upload inputs/);
  assert.throws(() => schedule.run('c'), /no phase c; there are a, b/);
  assert.throws(() => schedule.upload(x, new Float32Array(7)), /upload x \[8\]: got 7 values/);
  schedule.upload(x, new Float32Array(8).fill(3));
  schedule.run('a');
  const first = schedule.read(y);
  assert.match(await rejection(schedule.read(y)), /^read \w+: a read is under way; await it first/);
  assert.throws(() => schedule.run('a'), /^phase a: a read is under way; await it first/);
  assert.throws(() => schedule.upload(x, new Float32Array(8)), /^upload: a read is under way/);
  assert.equal([...(await first)], Array(8).fill(6));
  assert.match(await rejection(schedule.read(state)), /^read reads state \[8\], which nothing has written yet/);
  assert.match(
    await rejection(schedule.runAndRead('b', [graph.tensor('result', 'large', [65], 'activation', 'f32')])),
    /have 260 bytes together, at most 256/,
  );
  assert.match(await rejection(schedule.runAndRead('b', [new Graph().input('other', [1])])), /other/);
  assert.match(await rejection(schedule.read(state)), /^read reads state \[8\], which nothing has written yet/, 'b has not run');
  schedule.destroy();
});

test('ops refuse no tensors at all, and many values where one belongs', () => {
  const graph = new Graph();
  const x = graph.input('x', [3]);
  graph.phase('all', () => {
    assert.throws(() => concat(), /^concat: needs at least one tensor/);
    assert.throws(() => gradientClip([], 1), /^gradientClip: needs at least one tensor/);
    assert.throws(() => spread(x, [4]), /^spread: takes one value, of shape \[1\], got \[3\]/);
  });
});

/** An op that binds its operands as it is told. */
const bound = (bindings: (x: Tensor, y: Tensor) => Record<string, Tensor>, params: Record<string, number> = {}): Op<object> => ({
  name: 'bound',
  shape: ([x]) => [x],
  launch: ({ inputs: [x], outputs: [y] }) => [{ kernel: twoKernel, bindings: bindings(x, y), params, groups: [1, 1, 1] }],
});
const twoKernel = kernel(
  'two',
  `// x to y
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() { y[0] = x[0]; }`,
);

test('the planner refuses dispatches that WebGPU or the kernel would not take', () => {
  const planned =
    (op: Op<object>, shape: Shape = [4]) =>
    () => {
      const graph = new Graph();
      const x = graph.input('x', shape);
      graph.phase('all', () => graph.output(graph.apply(op, [x], {})[0]));
      plan(graph);
    };
  assert.throws(planned(bound((_, y) => ({ x: y, y }))), /kernels\/two\.wgsl: bound is bound twice and written by one dispatch/);
  assert.throws(planned(bound((x) => ({ x, y: x }))), /bound twice/);
  assert.throws(planned(bound((x) => ({ x }))), /kernels\/two\.wgsl: bindings missing \[y\], unknown \[\]/);
  assert.throws(planned(bound((x, y) => ({ x, y, z: y }))), /unknown \[z\]/);
  assert.throws(planned(bound((x, y) => ({ x, y }), { n: 1 })), /kernels\/two\.wgsl: unknown parameter n/);
  const graph = new Graph(),
    other = new Graph();
  const [x, y, v] = [graph.input('x', [4]), graph.input('y', [4]), graph.variable('v', [4])];
  graph.phase('all', () => {
    assert.throws(
      () =>
        graph.apply(
          bound((a, b) => ({ x: a, y: b })),
          [v],
          {},
          [v],
        ),
      /v is read and updated by one op/,
    );
    assert.throws(() => reset(x), /only a variable can be updated, x is a input/);
    assert.throws(() => add(x, other.input('y', [4])), /y belongs to another graph/);
    assert.throws(() => graph.phase('inner', () => 0), /phases do not nest \(inside all\)/);
    assert.throws(() => add(x, graph.input('z', [5])), /shapes \[4\] and \[5\] do not fit/);
  });
  assert.throws(() => add(x, y), /trace ops inside graph\.phase/);
  assert.throws(() => graph.phase('all', () => 0), /phase all is traced twice/);
  assert.throws(() => graph.input('x', [4, 0]), /x: a shape needs whole sizes above 0, got \[4,0\]/);
  graph.output(x);
  assert.throws(() => plan(graph), /output x is computed by no phase/);
  const wide = new Graph();
  wide.phase('all', () => wide.output(slice(wide.input('x', [70000, 2, 1]), 0, 1)));
  assert.throws(
    () => plan(wide),
    /kernels\/copy_channels\.wgsl: 1×1×70000 workgroups for .*; an axis takes 1 to 65535: use fewer channels/,
  );
});

test('gradients: a variable that was updated since, and cotangents that do not fit, are refused', () => {
  const graph = new Graph();
  const z = graph.variable('z', [4]),
    x = graph.input('x', [4]);
  graph.phase('all', () => {
    const y = mul(z, x);
    assert.throws(() => vjp([y], [], [x]), /grad: 1 outputs and 0 cotangents/);
    assert.throws(() => vjp([y], [graph.input('dy', [5])], [x]), /the cotangent of binary \[4\] has shape \[5\]/);
    assert.throws(() => vjp([y], [y], [graph.input('w', [4])]), /grad: binary does not depend on w/);
    assign(z, y);
    assert.throws(() => vjp([y], [y], [x]), /grad: z was updated after .*; the gradient would see its new value/);
    const both = mul(z, x); // depends on x directly, and through z
    assert.throws(() => vjp([both], [both], [x]), /grad: binary reads z, which this phase updated; no gradient passes through an update/);
    assert.throws(() => vjp([scale(z, 2)], [both], [x]), /grad: .* reads z, which this phase updated/);
    assert.is(vjp([both], [both], [z])[0].shape[0], 4); // of the value that it has now
    reset(z);
    assert.is(vjp([mul(z, x)], [both], [x])[0].shape[0], 4);
  });
  graph.phase('later', () => {
    assert.is(vjp([mul(z, x)], [x], [x])[0].shape[0], 4); // a constant here: how often the other phase has run, nobody knows
  });
});

test('a history or a best iterate that another phase has taken the memory of is refused, by the next step too', async () => {
  for (const window of [1, 3]) {
    const graph = new Graph();
    const n = 4096;
    const b = graph.input('b', [n]);
    const memory = andersonState(graph.variable('z', [n]), window);
    graph.phase('start', () => (reset(memory.z), resetAnderson(memory)));
    graph.phase('step', () => anderson(memory, add(scale(memory.z, 3), b), { window, beta: 1, ridge: 0 }));
    [memory.z, memory.state].forEach((t) => graph.output(t));
    graph.phase('look', () => Array.from({ length: 12 }, (_, i) => graph.output(scale(memory.z, 100 + i))));
    const schedule = await Schedule.build(await gpu(), graph);
    schedule.upload(b, new Float32Array(n).fill(1));
    assert.throws(() => schedule.run('step'), /phase step reads .*, which nothing has written yet/);
    schedule.run('start');
    schedule.run('step');
    assert.is((await schedule.read(memory.best))[0], 1);
    schedule.run('look');
    schedule.upload(b, new Float32Array(n).fill(1));
    assert.throws(() => schedule.run('step'), /phase step reads z\..*, which .* has overwritten/);
    schedule.run('start');
    schedule.run('step');
    assert.is((await schedule.read(memory.best))[0], 1);
    schedule.destroy();
  }
});

test('what an adapter cannot hold is refused before anything is allocated, with need, limit and remedy', async () => {
  const graph = new Graph();
  graph.phase('all', () => graph.output(scale(graph.input('image', [1, 64, 1024, 1024, 40]), 2)));
  const p = plan(graph);
  assert.is(p.peak.total, 2 * 4 * 64 * 40 * 2 ** 20 + 256 + 16 * 2 ** 20 + 8 * 256);
  assert.throws(
    () => checkLimits(p, { maxStorageBufferBindingSize: 2 ** 27, maxBufferSize: 2 ** 31 }, 'some adapter'),
    /needs a buffer of 10240 MiB, but some adapter binds at most 128 MiB; .*coarser/,
  );
  checkLimits(p, { maxStorageBufferBindingSize: 2 ** 34, maxBufferSize: 2 ** 34 }, 'some adapter');
  const device = await gpu(),
    before = device.ledger.live.total;
  assert.match(await rejection(Schedule.build(device, graph)), /needs a buffer of 10240 MiB, but .* binds at most/);
  assert.is(device.ledger.live.total, before);
});

test.run();
