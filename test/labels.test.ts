// Labels in a loss: soft Dice of one-hot maps through a warp, rows longer than a workgroup's share, and the limits of both ops.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Graph, oneHot, plan, softDice, warp } from '../src/index.ts';
import { evaluate } from './gpu.ts';
import { awayFromFaces } from './reference/cases.ts';
import { reference } from './reference/index.ts';
import { map, relativeError, uniform } from './reference/ndarray.ts';

const VALUES = [1, 2, 3];
const labels = (shape: number[], seed: number) => map(uniform(shape, seed, 0, 4), Math.floor);

test('softDice(oneHot(fixed), warp(oneHot(moving), u)) and its gradient for u', async () => {
  const [fixed, moving, u] = [labels([1, 1, 5, 6, 7], 1), labels([1, 1, 5, 6, 7], 2), awayFromFaces([1, 3, 5, 6, 7], 3, 1.5)];
  const dy = uniform([1], 4);
  const { y, grads } = await evaluate(([a, b, u]) => softDice(oneHot(a, VALUES), warp(oneHot(b, VALUES), u)), [fixed, moving, u], dy, [
    false,
    false,
    true,
  ]);
  const [a, b] = [fixed, moving].map((x) => reference.oneHot.forward([x], { values: VALUES }));
  const warped = reference.warp.forward([b, u], {});
  assert.ok(relativeError(y, reference.softDice.forward([a, warped], {}).data) < 1e-5);
  const [, dwarped] = reference.softDice.vjp([a, warped], {}, dy);
  assert.ok(relativeError(grads[2]!, reference.warp.vjp([b, u], {}, dwarped!)[1]!.data) < 1e-5);
});

test('softDice: rows that several workgroups share', async () => {
  const inputs = [uniform([1, 2, 17, 31, 33], 5, 0, 1), uniform([1, 2, 17, 31, 33], 6, 0, 1)];
  const dy = uniform([1], 7);
  const { y, grads } = await evaluate(([a, b]) => softDice(a, b), inputs, dy);
  assert.ok(relativeError(y, reference.softDice.forward(inputs, {}).data) < 1e-5);
  reference.softDice.vjp(inputs, {}, dy).forEach((g, i) => assert.ok(relativeError(grads[i]!, g!.data) < 1e-5));
});

test('softDice of a label map with itself is 0, with a disjoint one 1', async () => {
  const image = labels([1, 1, 4, 5, 6], 8);
  const loss = async (shift: number) =>
    (await evaluate(([a, b]) => softDice(oneHot(a, VALUES), oneHot(b, VALUES)), [image, map(image, (x) => (x + shift) % 4)])).y[0];
  assert.ok(Math.abs(await loss(0)) < 1e-6);
  assert.is(await loss(1), 1);
});

test('a tensor that does not fit is refused, with its shape', () => {
  const graph = new Graph();
  const [one, two] = [graph.input('one', [1, 1, 3, 4, 5]), graph.input('two', [1, 2, 3, 4, 5])];
  graph.phase('all', () => {
    assert.throws(() => oneHot(two, [1]), /oneHot: labels needs 1 channel, got \[1,2,3,4,5\]/);
    for (const values of [[], [1, 1], Array.from({ length: 65 }, (_, k) => k)]) assert.throws(() => oneHot(one, values), /1 to 64 labels/);
    for (const values of [[0.5], [NaN], [2 ** 24 + 2]]) assert.throws(() => oneHot(one, values), /whole numbers/);
    assert.throws(() => softDice(one, two), /softDice: a \[1,1,3,4,5\] and b \[1,2,3,4,5\] differ in shape/);
    assert.throws(() => softDice(two, two, 0), /epsilon/);
  });
  assert.is(plan(graph).phases[0].dispatches.length, 0);
});

test.run();
