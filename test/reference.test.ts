// First leg of the gradient proof: every hand-written VJP of the float64 reference against central differences.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cases, type Case } from './reference/cases.ts';
import { reference } from './reference/index.ts';
import { dot, map, ndarray, relativeError, uniform, zeros, type NdArray } from './reference/ndarray.ts';

const step = 1e-5;
const tolerance = 1e-6;

/** Central differences of ⟨cotangent, forward(inputs)⟩ in every entry of one input. */
function centralDifferences({ op, inputs, attrs }: Case, which: number, cotangent: NdArray): NdArray {
  const value = (perturbed: NdArray) => dot(reference[op].forward(inputs.with(which, perturbed), attrs).data, cotangent.data);
  const at = (i: number, delta: number) => value(map(inputs[which], (x, j) => (i === j ? x + delta : x)));
  return map(inputs[which], (_, i) => (at(i, step) - at(i, -step)) / (2 * step));
}

for (const [index, item] of cases.entries()) {
  const { op, label, inputs, attrs, constants = 0 } = item;
  test(`${op}: VJP against central differences (${label})`, () => {
    const out = reference[op].forward(inputs, attrs);
    const cotangent = uniform(out.shape, 1000 + index, 0.2, 1);
    const grads = reference[op].vjp(inputs, attrs, cotangent);
    assert.is(grads.length, inputs.length);
    grads.forEach((grad, i) => {
      assert.is(grad === null, i < constants);
      if (!grad) return;
      assert.equal(grad.shape, inputs[i].shape);
      const error = relativeError(grad.data, centralDifferences(item, i, cotangent).data);
      assert.ok(error < tolerance, `input ${i}: relative error ${error}`);
    });
  });
}

test('every reference op has a case, under its own name', () => {
  for (const [name, op] of Object.entries(reference)) {
    assert.is(op.name, name);
    assert.ok(
      cases.some((item) => item.op === name),
      name,
    );
  }
});

test('warp: no displacement gives the image back; a whole voxel shifts it, the border repeats', () => {
  const image = uniform([1, 2, 3, 4, 5], 1);
  assert.equal(reference.warp.forward([image, zeros([1, 3, 3, 4, 5])], {}), image);
  assert.equal(reference.warpNearest.forward([image, zeros([1, 3, 3, 4, 5])], {}), image);
  const line = ndarray([1, 1, 1, 1, 4], [10, 20, 30, 40]);
  const shift = ndarray([1, 3, 1, 1, 4], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal([...reference.warp.forward([line, shift], {}).data], [20, 30, 40, 40]);
  assert.equal([...reference.warpNearest.forward([line, map(shift, (x) => x / 2)], {}).data], [20, 30, 40, 40]);
});

test('warp: on and beyond the first and last voxel the position has no derivative', () => {
  const line = ndarray([1, 1, 1, 1, 4], [10, 20, 40, 80]);
  const shift = ndarray([1, 3, 1, 1, 4], [0, 0.5, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const [, grad] = reference.warp.vjp([line, shift], {}, ndarray([1, 1, 1, 1, 4], [1, 1, 1, 1]));
  assert.equal([...grad!.data.subarray(0, 4)], [0, 20, 0, 0]);
});

test('filters keep a constant; windowSum counts the voxels inside', () => {
  const ones = map(zeros([1, 1, 3, 4, 5]), () => 1);
  for (const y of [reference.resize.forward([ones], { size: [2, 7, 5] }), reference.gaussian.forward([ones], { sigma: [1, 2, 0] })]) {
    assert.ok(y.data.every((x) => Math.abs(x - 1) < 1e-14));
  }
  assert.is(reference.windowSum.forward([ones], { window: 3 }).data[0], 8);
  assert.throws(() => reference.windowSum.forward([ones], { window: 4 }), /odd/);
});

test('lncc does not feel an offset of 1000', () => {
  const [a, b] = [uniform([1, 1, 5, 6, 7], 1), uniform([1, 1, 5, 6, 7], 2)];
  const value = (offset: number) => reference.lncc.forward([map(a, (x) => x + offset), b], { window: 5, epsilon: 1e-5 }).data[0];
  assert.ok(Math.abs(value(1000) - value(0)) < 1e-10);
  assert.ok(Math.abs(reference.lncc.forward([a, a], { window: 5, epsilon: 0 }).data[0] - 1) < 1e-12);
});

test('jacobianDeterminant: 1 without displacement, det(I + A) for u(p) = A·p', () => {
  assert.ok(reference.jacobianDeterminant.forward([zeros([1, 3, 3, 4, 5])], {}).data.every((x) => x === 1));
  const u = zeros([1, 3, 3, 4, 5]);
  for (let v = 0; v < 60; v++) {
    const [i, j, k] = [v % 5, Math.floor(v / 5) % 4, Math.floor(v / 20)];
    u.data.set([0.1 * i + 0.2 * j], v);
    u.data.set([0.3 * i - 0.1 * k], 60 + v);
    u.data.set([0.5 * k], 120 + v);
  }
  const expected = (1.1 * 1 - 0.2 * 0.3) * 1.5;
  assert.ok(reference.jacobianDeterminant.forward([u], {}).data.every((x) => Math.abs(x - expected) < 1e-12));
});

test.run();
