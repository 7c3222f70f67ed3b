// The planner: which values share memory, what a phase may rely on when phases are replayed, and that the bytes are what it says:
// against the ledger, and once, in a process of its own, against the memory that the system sees.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  add,
  assign,
  axpby,
  concat,
  Graph,
  mean,
  mul,
  plan,
  reset,
  resize,
  scale,
  Schedule,
  type Shape,
  slice,
  spread,
  type Tensor,
  vjp,
} from '../src/index.ts';
import { inSubmits } from '../src/graph/schedule.ts';
import { openGpu } from '../src/node.ts';
import { gpu } from './gpu.ts';
import { random } from './reference/ndarray.ts';

const MEMORY = 'resident-memory';

/** y = x, scaled `times` times over. */
const chain = (x: Tensor, times: number): Tensor => Array.from({ length: times }).reduce<Tensor>((y) => scale(y, 0.5, 1), x);

test('results of a phase take turns in two buffers; dead code takes none', () => {
  const graph = new Graph();
  const x = graph.input('x', [1000]);
  graph.phase('all', () => {
    chain(x, 5); // nobody wants it
    graph.output(chain(x, 7));
  });
  const { phases, slots, peak } = plan(graph);
  assert.is(phases[0].dispatches.length, 7);
  assert.equal(
    slots.map(({ bytes }) => bytes),
    [4000, 4000, 4000],
  );
  assert.is(peak.byTag.input + peak.byTag.activation, 12000);
});

test('a smaller value may sit in a larger buffer; persistent variables share with nobody', () => {
  const graph = new Graph();
  const x = graph.input('x', [1000]);
  const kept = graph.variable('kept', [1000], 'weight', { persistent: true }),
    passing = graph.variable('passing', [1000], 'history');
  graph.phase('first', () => assign(kept, scale(x, 2)));
  graph.phase('second', () => assign(passing, chain(kept, 3)));
  graph.phase('third', () => graph.output(spread(mean(chain(kept, 3)), [10])));
  const { slotOf, slots } = plan(graph);
  assert.equal(
    slots.filter((slot) => slot.lives.length === 1),
    [slotOf.get(kept)!],
  );
  assert.is(slots.length, 4); // kept; passing; and two that the chains share with the small values
});

test('a sum takes over the buffer of a summand that nothing else needs, and no other', async () => {
  const graph = new Graph();
  const [a, b] = [graph.input('a', [1000]), graph.input('b', [1000])];
  const y = graph.phase('all', () => {
    const first = mul(a, b);
    const kept = graph.output(add(first, a)); // in the place of `first`
    const other = axpby(1, b, 2, kept); // beside `kept`, which is an output
    return graph.output(axpby(3, a, 1, add(other, other))); // twice the same: beside; then in its place
  });
  const planned = plan(graph);
  assert.equal(
    planned.slots.map(({ bytes }) => bytes),
    [4000, 4000, 4000, 4000, 4000],
  );
  const schedule = await Schedule.build(await gpu(), graph, 'cpu');
  schedule.upload(a, new Float32Array(1000).fill(2));
  schedule.upload(b, new Float32Array(1000).fill(5));
  schedule.run('all'); // 10, 12, 29, 64
  assert.equal(new Set(await schedule.read(y)), new Set([64]));
  schedule.destroy();
});

test('inside of a phase, what frees memory goes first', () => {
  const graph = new Graph();
  const x = graph.input('x', [1000]);
  graph.phase('all', () => {
    const large = Array.from({ length: 5 }, (_, i) => scale(x, i));
    large.forEach((t) => graph.output(mean(t)));
  });
  const { slots, phases } = plan(graph);
  assert.is(slots.filter(({ bytes }) => bytes === 4000).length, 2); // x and one of them at a time
  assert.equal(
    phases[0].dispatches.slice(0, 4).map(({ kernel }) => kernel.name),
    ['unary', 'reduce', 'reduce', 'unary'],
  );
});

test('a pullback makes again what is larger than what it was made of, but not from a variable that has changed since', () => {
  const recomputed = (change: boolean): string[] => {
    const graph = new Graph();
    const x = graph.variable('x', [1, 1, 2, 2, 2]),
      w = graph.variable('w', [1, 1, 4, 4, 4]);
    const y = graph.phase('forward', () => graph.output(mul(resize(x, [4, 4, 4]), w)));
    if (change) graph.phase('change', () => reset(x));
    graph.phase('pullback', () => graph.output(vjp([y], [y], [w])[0]));
    return plan(graph)
      .phases.at(-1)!
      .dispatches.map(({ kernel }) => kernel.name);
  };
  assert.equal(recomputed(false), ['resize', 'resize', 'resize', 'binary']);
  assert.equal(recomputed(true), ['resize', 'resize', 'binary']); // from the first of the three, which saw x before
});

test('a pullback does not make a coarse image again from the whole one, which would have to stay for it', () => {
  const graph = new Graph();
  const image = graph.input('image', [1, 1, 8, 8, 8]),
    w = graph.variable('w', [1, 1, 2, 2, 2]);
  const coarse = graph.phase('prepare', () => resize(image, [2, 2, 2]));
  graph.phase('step', () => {
    const y = mul(coarse, w);
    graph.output(vjp([y], [y], [w])[0]);
  });
  assert.equal(
    plan(graph)
      .phases.at(-1)!
      .dispatches.map(({ kernel }) => kernel.name),
    ['binary', 'binary'],
  );
});

/** A random program of several phases, and the same on the CPU. Its sizes differ, so that slots are shared across sizes. */
function randomProgram(seed: number) {
  const next = random(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)]!;
  const graph = new Graph();
  const shapes: Shape[] = [
    [1, 2, 1, 1, 3],
    [1, 2, 1, 1, 9],
    [1, 2, 1, 1, 16],
  ];
  const values = new Map<Tensor, Float64Array>();
  const known = new Map<Shape, Tensor[]>(shapes.map((shape) => [shape, []]));
  const uploads: Tensor[] = [];
  const fresh = (t: Tensor, shape: Shape) => {
    values.set(
      t,
      Float64Array.from({ length: 2 * shape[4] }, () => Math.fround(2 * next() - 1)),
    );
    known.get(shape)!.push(t);
    uploads.push(t);
  };
  const variables = shapes.flatMap((shape, i) => {
    fresh(graph.input(`input ${i}`, shape), shape);
    const persistent = graph.variable(`weight ${i}`, shape, 'weight', { persistent: true });
    fresh(persistent, shape);
    return [persistent, graph.variable(`state ${i}`, shape, 'history')].map((variable) => ({ variable, shape }));
  });
  const phases = Array.from({ length: 5 }, (_, p) => {
    const steps: (() => void)[] = [],
      outputs: Tensor[] = [];
    graph.phase(`${p}`, () => {
      for (let k = 0; k < 8; k++) {
        const shape = pick(shapes),
          x = pick(known.get(shape)!),
          y = pick(known.get(shape)!),
          other = pick(known.get(pick(shapes))!);
        const v = (t: Tensor) => values.get(t)!;
        const average = (a: Float64Array) => a.reduce((s, q) => s + q, 0) / a.length;
        const half = shape[4];
        const [made, compute] = pick<() => [Tensor, () => Float64Array]>([
          () => [scale(x, -0.5, 0.25), () => v(x).map((a) => -0.5 * a + 0.25)],
          () => [axpby(0.5, x, -0.5, y), () => v(x).map((a, i) => 0.5 * a - 0.5 * v(y)[i])],
          () => [mul(x, y), () => v(x).map((a, i) => a * v(y)[i])],
          () => [add(x, mean(other)), () => v(x).map((a) => a + average(v(other)))],
          () => [spread(mean(other), shape), () => v(x).map(() => average(v(other)))],
          () => [concat(slice(x, 1, 1), slice(y, 0, 1)), () => Float64Array.of(...v(x).subarray(half), ...v(y).subarray(0, half))],
        ])();
        steps.push(() => void values.set(made, compute()));
        known.get(shape)!.push(made);
        if (next() < 0.3) outputs.push(graph.output(made));
      }
      for (const { variable, shape } of variables) {
        if (next() > 0.4) continue;
        const source = pick(known.get(shape)!);
        if (source === variable) continue;
        assign(variable, source);
        steps.push(() => void values.set(variable, values.get(source)!.slice()));
        if (!known.get(shape)!.includes(variable)) known.get(shape)!.push(variable);
      }
    });
    return { name: `${p}`, outputs, run: () => steps.forEach((step) => step()) };
  });
  return { graph, uploads, values, phases, next, pick };
}

test('phases replayed: in traced order values are right, in any other order right or refused', async () => {
  const device = await gpu();
  let right = 0,
    refused = 0,
    shared = 0;
  for (let seed = 1; seed <= 30; seed++) {
    const { graph, uploads, values, phases, next, pick } = randomProgram(seed);
    const schedule = await Schedule.build(device, graph);
    shared += schedule.plan.slotOf.size - schedule.plan.slots.length;
    for (const t of uploads) schedule.upload(t, Float32Array.from(values.get(t)!));
    const check = async (outputs: Tensor[]) => {
      for (const t of outputs) {
        const got = await schedule.read(t);
        values
          .get(t)!
          .forEach((expected, i) =>
            assert.ok(Math.abs(got[i] - expected) < 1e-4, `seed ${seed}, ${t.label} ${t.id}: ${got[i]} for ${expected}`),
          );
      }
    };
    for (const [p, { name, run }] of phases.entries()) {
      for (let times = Math.ceil(3 * next()); times > 0; times--) {
        schedule.run(name);
        run();
      }
      await check(phases.slice(0, p + 1).flatMap(({ outputs }) => outputs));
    }
    for (let k = 0; k < 12; k++) {
      const { name, outputs, run } = pick(phases);
      try {
        schedule.run(name);
      } catch (error) {
        assert.match((error as Error).message, /^phase \d reads .* has overwritten; .*order in which they were traced$/);
        refused++;
        continue;
      }
      run();
      await check(outputs);
      right++;
    }
    schedule.destroy();
  }
  assert.ok(right > 50 && refused > 50 && shared > 300, `${right} right, ${refused} refused, ${shared} shared`);
});

/** VmRSS of this process in bytes. */
const resident = () => 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]);

/** Bytes planned and bytes by which this process grows, for a schedule of six buffers that stay and a chain that shares two. */
async function measureMemory(): Promise<void> {
  const device = await openGpu();
  if (!device.info.software) return void console.log(JSON.stringify({ adapter: device.info.description }));
  const run = async (count: number) => {
    const graph = new Graph();
    const kept = Array.from({ length: 6 }, (_, i) => graph.variable(`kept ${i}`, [count], 'weight', { persistent: true }));
    graph.phase('all', () => {
      kept.forEach((t, i) => reset(t, i));
      assign(kept[0], chain(kept[5], 20));
    });
    const schedule = await Schedule.build(device, graph);
    schedule.run('all');
    await device.idle();
    return schedule.plan.peak.total;
  };
  await run(10 * 2 ** 18); // so that the driver's own 40 MiB or so, for whatever size, are there already
  const before = resident();
  const planned = await run(50 * 2 ** 18);
  console.log(JSON.stringify({ planned, grown: resident() - before }));
}

test('the planned bytes are the bytes by which the process grows', () => {
  const { stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), MEMORY], { encoding: 'utf8' });
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  assert.ok(line, stderr);
  const { planned, grown, adapter } = JSON.parse(line);
  if (adapter) return void console.log(`skipped: the memory of ${adapter} is not this process's`);
  assert.ok(planned > 400 * 2 ** 20 && planned < 401 * 2 ** 20, `planned ${planned}`);
  assert.ok(Math.abs(grown / planned - 1) < 0.1, `planned ${planned} bytes, grown by ${grown}`);
});

test('a submit holds at most 64 dispatches and, but for one alone, 4 GiB', () => {
  const lengths = (...gibibytes: number[]) => inSubmits(gibibytes.map((g) => ({ bytes: g * 2 ** 30 }))).map(({ length }) => length);
  assert.equal(lengths(), [0], 'what is read may follow nothing');
  assert.equal(lengths(...Array<number>(130).fill(0.01)), [64, 64, 2]);
  assert.equal(lengths(1, 1, 2, 0.5, 3.5, 1), [3, 2, 1]);
  assert.equal(lengths(9, 9, 1), [1, 1, 1], 'each its own');
});

if (process.argv[2] === MEMORY) {
  await measureMemory();
  process.exit();
} else test.run();
