// Every op on the GPU against the float64 reference (values and VJPs, norm-wise relative 1e-5) and against PyTorch's goldens; as launched for a
// CPU and for a GPU, where that differs.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { goldens } from './golden/load.ts';
import { gpuOps } from './gpu-ops.ts';
import { evaluate, processorsOf } from './gpu.ts';
import { cases } from './reference/cases.ts';
import { reference } from './reference/index.ts';
import { relativeError, sizeOf, uniform } from './reference/ndarray.ts';
import type { Tensor } from '../src/index.ts';

const TOLERANCE = 1e-5;
/** Looser, with the reason: raw intensities near 1000 leave f32 four digits behind the point; a dot product of both signs cancels. */
const looser: Record<string, number> = { 'lncc: raw intensities': 2e-4, 'dot: N=2': 1e-4 };

test('every reference op has an engine op', () => {
  assert.equal(
    Object.keys(reference).filter((name) => !gpuOps[name]),
    [],
  );
});

for (const { op, label, inputs, attrs } of cases) {
  test(`${op}: ${label}`, async () => {
    const tolerance = looser[`${op}: ${label}`] ?? TOLERANCE;
    const expected = reference[op]!.forward(inputs, attrs);
    const cotangent = uniform(expected.shape, 99);
    const gradients = reference[op]!.vjp(inputs, attrs, cotangent);
    const wanted = gradients.map((g) => g !== null);
    const program = [(xs: Tensor[]) => gpuOps[op]!(xs, attrs), inputs, wanted.includes(true) ? cotangent : undefined, wanted] as const;
    for (const processor of processorsOf(...program)) {
      const { y, grads } = await evaluate(...program, processor);
      assert.is(y.length, sizeOf(expected.shape));
      const error = relativeError(y, expected.data);
      assert.ok(error < tolerance, `${processor}: value: relative error ${error}`);
      gradients.forEach((g, i) => {
        if (!g) return;
        const error = relativeError(grads[i]!, g.data);
        assert.ok(error < tolerance, `${processor}: gradient of input ${i}: relative error ${error}`);
      });
    }
  });
}

goldens().forEach(({ op, attrs, inputs, outputs, cotangent, grads: expected }, index) => {
  if (!gpuOps[op]) return; // optimisers have tests of their own
  test(`${op}: PyTorch golden ${index}`, async () => {
    const wanted = expected.map((g) => g !== null);
    const { y, grads } = await evaluate((xs) => gpuOps[op]!(xs, attrs), inputs, cotangent ?? undefined, wanted);
    assert.ok(relativeError(y, outputs[0]!.data) < TOLERANCE, `value: relative error ${relativeError(y, outputs[0]!.data)}`);
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
