// The float64 reference against PyTorch: values and gradients of every op, Adam over five steps.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { goldens } from './golden/load.ts';
import { reference } from './reference/index.ts';
import { relativeError, type NdArray } from './reference/ndarray.ts';
import { adamStep, type AdamState } from './reference/steps.ts';

const tolerance = 1e-12;
const all = goldens();

function close(actual: NdArray, expected: NdArray, what: string): void {
  assert.equal(actual.shape, expected.shape, what);
  const error = relativeError(actual.data, expected.data);
  assert.ok(error < tolerance, `${what}: relative error ${error}`);
}

for (const [index, { op, attrs, inputs, outputs, cotangent, grads }] of all.entries()) {
  if (!reference[op]) continue; // optimisers, which are no functions of tensors alone, have tests of their own
  test(`golden ${index}: ${op} ${JSON.stringify(attrs)} [${inputs[0].shape}]`, () => {
    close(reference[op].forward(inputs, attrs), outputs[0], 'value');
    if (!cotangent) return;
    reference[op].vjp(inputs, attrs, cotangent).forEach((grad, i) => {
      assert.is(grad === null, grads[i] === null);
      if (grad) close(grad, grads[i]!, `gradient ${i}`);
    });
  });
}

test('every reference op has a golden', () => {
  assert.equal(
    Object.keys(reference).filter((name) => !all.some(({ op }) => op === name)),
    [],
  );
});

test('five steps of Adam', () => {
  const {
    attrs,
    inputs: [start, ...gradients],
    outputs,
  } = all.find(({ op }) => op === 'adamStep')!;
  let state: AdamState = { p: start.data, m: new Float64Array(start.data.length), v: new Float64Array(start.data.length) };
  for (const [i, g] of gradients.entries()) {
    state = adamStep({ ...state, ...attrs, g: g.data, t: i + 1 });
    assert.ok(relativeError(state.p, outputs[i].data) < tolerance, `step ${i + 1}`);
  }
  assert.ok(relativeError(state.m, outputs[5].data) < tolerance);
  assert.ok(relativeError(state.v, outputs[6].data) < tolerance);
});

test.run();
