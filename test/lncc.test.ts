// LNCC beyond the small cases: lines of several runs, sums made in place along every axis, and the memory that this takes.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { centre, grad, Graph, lncc, lnccForce, localStatistics, plan, type Statistics, type Tensor, vjp } from '../src/index.ts';
import { evaluate, processorsOf } from './gpu.ts';
import { gpuOps } from './gpu-ops.ts';
import { reference } from './reference/index.ts';
import { map, type NdArray, ndarray, relativeError, uniform } from './reference/ndarray.ts';

/**
 * Longer than a run of 32 along one axis each, and than two along the last; a last run shorter than the radius; and wider than a tile of a
 * GPU.
 */
for (const { size, window } of [
  { size: [37, 6, 5], window: [5, 3, 7] },
  { size: [70, 3, 4], window: [7, 7, 7] },
  { size: [33, 4, 5], window: [7, 7, 7] },
  { size: [4, 41, 6], window: [5, 3, 7] },
  { size: [3, 33, 6], window: [7, 7, 7] },
  { size: [5, 3, 67], window: [5, 3, 7] },
  { size: [3, 4, 33], window: [7, 7, 7] },
  { size: [2, 3, 173], window: [7, 7, 7] },
  { size: [3, 4, 60], window: [11, 3, 3] },
])
  for (const op of ['lncc', 'lnccForce'])
    test(`${op} over lines of several runs: ${size}, window ${window}`, async () => {
      const shape = [size[0] > 30 ? 2 : 1, 1, ...size]; // runs along D are told apart from items
      const a = uniform(shape, 1, 0, 1),
        b = map(uniform(shape, 2, 0, 0.4), (x, i) => Math.fround(x + 0.6 * a.data[i]));
      const attrs = { window, epsilon: 1e-3 };
      const inputs = op === 'lncc' ? [a, b] : [a, b, uniform(shape.with(1, 3), 3)];
      const expected = reference[op].forward(inputs, attrs);
      const dy = op === 'lncc' ? ndarray([1], [1.5]) : uniform(expected.shape, 4);
      const wanted = inputs.map((_, i) => op === 'lncc' || i > 0);
      const gradients = reference[op].vjp(inputs, attrs, dy);
      const similarity = reference.lncc.forward([a, b], attrs);
      const program = [(xs: Tensor[]) => gpuOps[op](xs, attrs), inputs, dy, wanted] as const;
      for (const processor of processorsOf(...program)) {
        const close = (found: ArrayLike<number>, { data }: NdArray, what: string) =>
          assert.ok(relativeError(found, data) < 1e-5, `${processor}: ${what}: relative error ${relativeError(found, data)}`);
        const { y, grads } = await evaluate(...program, processor);
        close(y, expected, op);
        gradients.forEach((g, i) => wanted[i] && close(grads[i]!, g!, `gradient ${i}`));
        if (op === 'lncc') continue;
        const around = window as [number, number, number];
        const beside = ([a, b, gradient]: Tensor[]) =>
          lnccForce(localStatistics(a, around), centre(b), gradient, undefined, 1e-3).similarity;
        close((await evaluate(beside, inputs, undefined, undefined, processor)).y, similarity, 'similarity');
      }
    });

test('lncc with a window wider than a workgroup', async () => {
  const shape = [1, 1, 3, 4, 270];
  const [a, b] = [uniform(shape, 1, 0, 1), uniform(shape, 2, 0, 1)];
  const attrs = { window: [301, 3, 3], epsilon: 1e-3 };
  const { y, grads } = await evaluate((xs) => gpuOps.lncc(xs, attrs), [a, b], ndarray([1], [1]), [false, true]);
  assert.ok(relativeError(y, reference.lncc.forward([a, b], attrs).data) < 1e-5);
  assert.ok(relativeError(grads[1]!, reference.lncc.vjp([a, b], attrs, ndarray([1], [1]))[1]!.data) < 1e-5);
});

/** Buffers of a step, in volumes of the image, without what goes in and comes out. */
function workspace(step: (fixed: Statistics, b: Tensor, gradient: Tensor, dy: Tensor) => Tensor[]): number {
  const graph = new Graph();
  const shape = [1, 1, 112, 96, 80],
    volume = 4 * 112 * 96 * 80;
  const [a, b, gradient, dy] = [1, 1, 3, 3].map((channels, i) => graph.input(`x${i}`, shape.with(1, channels)));
  const fixed = graph.phase('fixed', () => localStatistics(a, 11));
  graph.phase('fixed again', () => graph.output(fixed.image)); // what the step reads is there before and after it
  const made = graph.phase('step', () => step(fixed, b, gradient, dy).map((t) => graph.output(t)));
  const { phases, slotOf } = plan(graph);
  const own = new Set(phases.find(({ name }) => name === 'step')!.dispatches.flatMap(({ bindings }) => Object.values(bindings)));
  const outside = new Set([...made, a, b, gradient, dy, fixed.image, fixed.statistics].map((t) => slotOf.get(t)));
  const inside = new Set([...own].map((t) => slotOf.get(t)!).filter((slot) => !outside.has(slot)));
  return [...inside].reduce((bytes, slot) => bytes + slot.bytes, 0) / volume;
}

test('what is too large for a launch on a GPU in runs is walked as on a CPU', () => {
  for (const shape of [
    [1, 1, 1, 1024, 2048],
    [1, 1, 720, 3, 3],
  ]) {
    const graph = new Graph();
    const [a, b] = ['a', 'b'].map((label) => graph.input(label, shape));
    graph.phase('all', () => grad(lncc(a, b, shape[2] === 1 ? 11 : [3, 3, 1401]), [b]).forEach((g) => graph.output(g)));
    const [cpu, own] = (['cpu', 'gpu'] as const).map((processor) => plan(graph, processor));
    assert.equal(own.peak, cpu.peak);
    assert.ok(own.phases[0].dispatches.every(({ constants }) => constants!.PROCESSOR !== 'gpu'));
  }
});

test("LNCC, its gradient, its force and the force's gradient work in one buffer of three fields", () => {
  const value: Parameters<typeof workspace>[0] = (fixed, b) => [lncc(fixed, b, 11)];
  const gradient: typeof value = (fixed, b) => grad(lncc(fixed, b, 11), [b]);
  const force: typeof value = (fixed, b, gradient) => [lnccForce(fixed, b, gradient).force];
  const forceGradient: typeof value = (fixed, b, gradient, dy) => vjp([lnccForce(fixed, b, gradient).force], [dy], [b, gradient]);
  for (const step of [value, gradient, force, forceGradient]) {
    const volumes = workspace(step);
    assert.ok(volumes > 3 && volumes < 3.6, `${volumes} volumes`); // 3 fields with half a window of room on every axis
  }
});

test('statistics know their window; another one is refused', () => {
  const graph = new Graph();
  const [a, b] = ['a', 'b'].map((name) => graph.input(name, [1, 1, 4, 5, 6]));
  graph.phase('step', () => {
    const fixed = localStatistics(a, [5, 3, 7]);
    lncc(fixed, b, [5, 3, 7]);
    assert.throws(() => lncc(fixed, b, 5), /lncc: window 5, but the statistics are of a window of 5, 3, 7/);
  });
});

test.run();
