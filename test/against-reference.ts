// An op of the engine against the float64 reference: value and VJP, norm-wise relative, as launched for a CPU and for a GPU where that
// differs.
import * as assert from 'uvu/assert';
import type { Tensor } from '../src/index.ts';
import { gpuOps } from './gpu-ops.ts';
import { evaluate, processorsOf } from './gpu.ts';
import { reference } from './reference/index.ts';
import { type NdArray, relativeError, sizeOf, uniform } from './reference/ndarray.ts';

export const TOLERANCE = 1e-5;

export async function againstReference(op: string, inputs: NdArray[], attrs: object, tolerance = TOLERANCE): Promise<void> {
  const expected = reference[op].forward(inputs, attrs);
  const cotangent = uniform(expected.shape, 99);
  const gradients = reference[op].vjp(inputs, attrs, cotangent);
  const wanted = gradients.map((g) => g !== null);
  const program = [(xs: Tensor[]) => gpuOps[op](xs, attrs), inputs, wanted.includes(true) ? cotangent : undefined, wanted] as const;
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
}
