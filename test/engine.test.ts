// What a program of one's own does with the package alone: ops with its own kernels, and values that never leave the GPU.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  adam,
  add,
  adamState,
  anderson,
  andersonState,
  assign,
  cast,
  ema,
  flat,
  grad,
  Graph,
  kernel,
  mul,
  numel,
  type Op,
  reset,
  resetAdam,
  resetAnderson,
  sameShape,
  scale,
  Schedule,
  show,
  square,
  sum,
  type Tensor,
  trace,
} from '../src/index.ts';
import { gpu } from './gpu.ts';
import { rejection } from './rejection.ts';

/** y = a·x³, elementwise. */
const cubic = kernel(
  'cubic',
  `// y = a·x³. One invocation: one value.
// @use index
struct Params { count: u32, a: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y[i] = params.a * x[i] * x[i] * x[i]; }
}`,
);
const cubicOp: Op<{ a: number }> = {
  name: 'cubic',
  shape([x]) {
    if (!sameShape(x, [numel(x)])) throw new Error(`cubic: takes a vector, got ${show(x)}`);
    return [x];
  },
  launch({ inputs: [x], outputs: [y], attrs: { a } }) {
    const count = numel(x.shape);
    return [{ kernel: cubic, ...flat(count), bindings: { x, y }, params: { count, a } }];
  },
  vjp: ({ inputs: [x], cotangents: [dy], attrs: { a } }) => [mul(dy!, scale(square(x), 3 * a))],
};

test('an op of one’s own: value, gradient, and its refusals', async () => {
  const graph = new Graph();
  const x = graph.input('x', [5]);
  const [y, dx] = graph.phase('all', () => {
    const y = trace(cubicOp, [x], { a: 2 });
    return [graph.output(y), graph.output(grad(sum(y), [x])[0])];
  });
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(x, Float32Array.of(0, 1, 2, -1, 0.5));
  schedule.run('all');
  assert.equal([...(await schedule.read(y))], [0, 2, 16, -2, 0.25]);
  assert.equal([...(await schedule.read(dx))], [0, 6, 24, 6, 1.5]);
  schedule.destroy();
  graph.phase('more', () => {
    assert.throws(() => trace(cubicOp, [graph.input('m', [2, 2])], { a: 1 }), /^cubic: takes a vector, got \[2,2\]/);
    assert.throws(() => grad(x, [x]), /^grad: needs a scalar, got \[5\]; sum it/);
  });
});

test('from one schedule to another, and to a pass of one’s own, on the GPU', async () => {
  const device = await gpu();
  const made = async (factor: number) => {
    const graph = new Graph();
    const x = graph.input('x', [6]);
    const y = graph.phase('all', () => graph.output(scale(x, factor)));
    return { x, y, schedule: await Schedule.build(device, graph) };
  };
  const [a, b] = [await made(3), await made(5)];
  a.schedule.upload(a.x, Float32Array.of(1, 2, 3, 4, 5, 6));
  assert.throws(() => a.schedule.buffer(a.y), /^buffer reads \S+ \[6\], which nothing has written yet/);
  a.schedule.run('all');
  b.schedule.upload(b.x, a.schedule.buffer(a.y));
  b.schedule.run('all');
  assert.equal([...(await b.schedule.read(b.y))], [15, 30, 45, 60, 75, 90]);
  const small = device.device.createBuffer({ size: 8, usage: 4 /* copy source */ });
  assert.throws(() => b.schedule.upload(b.x, small), /^upload x \[6\]: got 2 values/);
  small.destroy();
  a.schedule.destroy();
  b.schedule.destroy();
});

test('what is uploaded is an input or a variable of this graph, as f32; what is read is f32', async () => {
  const graph = new Graph(),
    other = new Graph();
  const x = graph.input('x', [4]);
  const [half, y] = graph.phase('all', () => {
    const y = graph.output(scale(x, 2));
    return [cast(y, 'f16'), y];
  });
  const schedule = await Schedule.build(await gpu(), graph);
  const refused = (tensor: Tensor, data: unknown, message: RegExp) =>
    assert.throws(() => schedule.upload(tensor, data as Float32Array), message);
  refused(other.input('x', [4]), new Float32Array(4), /^upload x \[4\]: it belongs to another graph/);
  refused(y, new Float32Array(4), /^upload \S+ \[4\]: only inputs and variables are uploaded, it is a result/);
  refused(x, new Int32Array(4), /^upload x \[4\]: takes a Float32Array or a GPUBuffer, got Int32Array/);
  refused(x, [1, 2, 3, 4], /got Array$/);
  refused(x, null, /got null$/);
  const sealed = schedule.gpu.device.createBuffer({ label: 'sealed', size: 16, usage: 8 /* copy destination */ });
  refused(x, sealed, /^upload x \[4\]: the buffer sealed lacks usage COPY_SRC/);
  sealed.destroy();
  refused(x, new Float32Array(3), /^upload x \[4\]: got 3 values/);
  assert.match(await rejection(schedule.read(half)), /is f16; cast it to f32 to read it/);
  schedule.destroy();
});

test('a schedule that is destroyed does nothing more, and disturbs no other', async () => {
  const device = await gpu();
  const graph = new Graph();
  const x = graph.input('x', [4]);
  const y = graph.phase('all', () => graph.output(scale(x, 2)));
  const [gone, here] = [await Schedule.build(device, graph), await Schedule.build(device, graph)];
  for (const schedule of [gone, here]) schedule.upload(x, new Float32Array(4).fill(1));
  gone.destroy();
  for (const use of [() => gone.run('all'), () => gone.upload(x, new Float32Array(4)), () => gone.buffer(x)])
    assert.throws(use, /^this schedule is destroyed; build another/);
  assert.match(await rejection(gone.read(y)), /^this schedule is destroyed/);
  here.run('all');
  assert.equal([...(await here.read(y))], [2, 2, 2, 2]);
  here.destroy();
});

test('Anderson acceleration by hand needs a start and a reset, no more', async () => {
  const graph = new Graph();
  const b = graph.input('b', [8]);
  const state = andersonState(graph.variable('z', [8]), 3);
  graph.phase('start', () => {
    reset(state.z);
    resetAnderson(state);
  });
  graph.phase('step', () => {
    anderson(state, add(scale(state.z, 0.5), b), { window: 3, beta: 1, ridge: 1e-3 }); // z = z/2 + b at 2b
    graph.output(state.best);
  });
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(b, Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7));
  assert.throws(() => schedule.run('step'), /^phase step reads (z|z\.state) \[\d+\], which nothing has written yet/);
  schedule.run('start');
  for (let k = 0; k < 12; k++) schedule.run('step');
  assert.ok((await schedule.read(state.best)).every((value, i) => Math.abs(value - 2 * i) < 1e-4));
  schedule.destroy();
});

test('a phase of many dispatches is one program, however it is submitted; what is read goes where one wants it', async () => {
  const graph = new Graph();
  const x = graph.input('x', [5]);
  const many = (length: number) => graph.output(Array.from({ length }).reduce<Tensor>((at) => scale(at, 1, 1), x));
  const y = graph.phase('all', () => many(150));
  const full = [64, 128].map((length) => graph.phase(`${length}`, () => many(length))); // whole submits
  const schedule = await Schedule.build(await gpu(), graph);
  const values = Float32Array.of(0, 1, 2, 3, 4);
  schedule.upload(x, values);
  for (const [i, length] of [64, 128].entries())
    assert.equal(await schedule.runAndRead(`${length}`, [full[i]]), [values.map((value) => value + length)]);
  assert.equal(await schedule.runAndRead('all', [y]), [values.map((value) => value + 150)]);
  const all = new Float32Array(7);
  assert.is((await schedule.read(y, all.subarray(1, 6))).buffer, all.buffer);
  assert.equal([...all], [0, 150, 151, 152, 153, 154, 0]);
  assert.match(await rejection(schedule.read(y, all)), /^read \w+ \[5\]: into an array of 7 values$/);
  schedule.destroy();
});

test('a variable that is changed must still be there, one that is overwritten need not', async () => {
  const graph = new Graph();
  const x = graph.input('x', [64]),
    p = graph.variable('p', [64], 'weight', { persistent: true }),
    average = graph.variable('average', [64]);
  const moments = adamState(graph.variable('q', [64], 'weight'));
  graph.phase('begin', () => {
    resetAdam(moments);
    assign(moments.parameter, x);
  });
  graph.phase('step', () => adam(moments, x, { rate: 0.1 }));
  graph.phase('average', () => ema(average, p, 0.5));
  const schedule = await Schedule.build(await gpu(), graph);
  const values = new Float32Array(64).fill(1);
  schedule.upload(x, values);
  assert.throws(() => schedule.run('step'), /^phase step reads q \[64\], which nothing has written yet/);
  schedule.run('begin');
  schedule.run('step');
  schedule.upload(p, values);
  assert.throws(() => schedule.run('average'), /^phase average reads average \[64\], which .* (nothing has written yet|has overwritten)/);
  schedule.upload(average, values);
  schedule.run('average');
  assert.throws(() => schedule.run('step'), /^phase step reads .*, which average \[64\] has overwritten/);
  schedule.destroy();
});

test('more items than a row of workgroups has, read back in several windows', async () => {
  const count = 65535 * 256 + 70_001;
  const ramp = kernel(
    'ramp',
    `// y[i] = i mod 8191. One invocation: one value.
// @use index
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;
@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y[i] = f32(i % 8191u); }
}`,
  );
  const rampOp: Op<undefined> = {
    name: 'ramp',
    shape: () => [[count]],
    launch: ({ outputs: [y] }) => [{ kernel: ramp, ...flat(count), bindings: { y }, params: { count } }],
  };
  const graph = new Graph();
  const y = graph.phase('all', () => graph.output(graph.apply(rampOp, [], undefined)[0]));
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.run('all');
  assert.is(
    (await schedule.read(y)).findIndex((x, i) => x !== i % 8191),
    -1,
  );
  schedule.destroy();
});

test('profile: a time for each dispatch, in their order, however often it is repeated', async () => {
  const device = await gpu();
  if (!device.device.features.has('timestamp-query')) return console.log('engine: the adapter has no timestamps; profile is not run');
  const graph = new Graph();
  const [large, small] = [graph.input('large', [2 ** 20]), graph.input('small', [8])];
  graph.phase('all', () => [graph.output(scale(large, 2)), graph.output(sum(small))]);
  const schedule = await Schedule.build(device, graph);
  [large, small].forEach((t) => schedule.upload(t, new Float32Array(numel(t.shape))));
  const timings = await schedule.profile('all', 4);
  assert.equal(
    timings.map(({ label }) => label),
    ['unary', 'reduce', 'reduce'], // a sum, and the sum of its partial sums
  );
  assert.ok(timings[0].ms > 2 * timings[1].ms && timings[1].ms > 0, JSON.stringify(timings)); // a million values, and eight
  schedule.destroy();
});

test('a part of an array is uploaded as such', async () => {
  const graph = new Graph();
  const x = graph.input('x', [3]);
  const y = graph.phase('all', () => graph.output(scale(x, 2)));
  const schedule = await Schedule.build(await gpu(), graph);
  schedule.upload(x, Float32Array.of(9, 9, 1, 2, 3, 9).subarray(2, 5));
  schedule.run('all');
  assert.equal([...(await schedule.read(y))], [2, 4, 6]);
  schedule.destroy();
});

test.run();
