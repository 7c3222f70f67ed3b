// Every op on the GPU against the float64 reference (values and VJPs, norm-wise relative 1e-5) and against PyTorch's goldens; as launched
// for a CPU and for a GPU, where that differs.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { againstReference, TOLERANCE } from './against-reference.ts';
import { goldens } from './golden/load.ts';
import { gpuOps } from './gpu-ops.ts';
import { evaluate } from './gpu.ts';
import { cases } from './reference/cases.ts';
import { reference } from './reference/index.ts';
import { relativeError } from './reference/ndarray.ts';

/** Looser, with the reason: raw intensities near 1000 leave f32 four digits behind the point; a dot product of both signs cancels. */
const looser: Record<string, number> = { 'lncc: raw intensities': 2e-4, 'dot: N=2': 1e-4 };

test('every reference op has an engine op', () => {
  assert.equal(
    Object.keys(reference).filter((name) => !gpuOps[name]),
    [],
  );
});

for (const { op, label, inputs, attrs } of cases)
  test(`${op}: ${label}`, () => againstReference(op, inputs, attrs, looser[`${op}: ${label}`]));

goldens().forEach(({ op, attrs, inputs, outputs, cotangent, grads: expected }, index) => {
  if (!gpuOps[op]) return; // optimisers have tests of their own
  test(`${op}: PyTorch golden ${index}`, async () => {
    const wanted = expected.map((g) => g !== null);
    const { y, grads } = await evaluate((xs) => gpuOps[op](xs, attrs), inputs, cotangent ?? undefined, wanted);
    assert.ok(relativeError(y, outputs[0].data) < TOLERANCE, `value: relative error ${relativeError(y, outputs[0].data)}`);
    expected.forEach((g, i) => {
      if (g)
        assert.ok(
          relativeError(grads[i]!, g.data) < TOLERANCE,
          `gradient of input ${i}: relative error ${relativeError(grads[i]!, g.data)}`,
        );
    });
  });
});

test.run();
