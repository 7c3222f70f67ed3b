// The gradient through the fixed point of a registration, second derivatives of the similarity included: implicit = unrolled = finite
// differences; what leaving them out costs, and what putting differences in their place.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Adjoint,
  deq,
  type DeqOutcome,
  Graph,
  runDeq,
  Schedule,
  type SimilarityJacobian,
  type SpectralRadius,
  spectralRadius,
  traceSpectralRadius,
} from '../src/index.ts';
import { gpu } from './gpu.ts';
import { factors, traceRegistrationMap } from './registration-map.ts';
import { dot, norm, relativeError } from './reference/ndarray.ts';

const GAIN = 0.2,
  STEPS = 100;
const rule = { maxIterations: 120, rtol: 3e-7, atol: 0, patience: 120, divergence: 1e6 };

interface Result {
  loss: number;
  /** Gradients for the gain and for the field of factors. */
  gain: number;
  w: Float32Array;
  outcome: DeqOutcome;
  spectral?: SpectralRadius;
}

/** The map under an adjoint, as a function of its gain and its factors. */
async function build(adjoint: Adjoint, similarity: SimilarityJacobian) {
  const graph = new Graph();
  const { gain, w, inputs, ...problem } = traceRegistrationMap(graph, similarity);
  const node = deq(graph, 'deq', { ...problem, wrt: [gain, w], adjoint, method: { method: 'anderson', window: 8, ridge: 1e-6 } });
  const spectral = node.linearisation && traceSpectralRadius(graph, 'spectral', node.linearisation);
  const schedule = await Schedule.build(await gpu(), graph);
  const run = async (gainValue = GAIN, wValues = factors): Promise<Result> => {
    schedule.upload(gain, Float32Array.of(gainValue));
    for (const [tensor, data] of [...inputs, [w, wValues] as const]) schedule.upload(tensor, data);
    schedule.run('images');
    const outcome = await runDeq(schedule, node, { forward: rule, backward: rule });
    const [loss, ofGain] = [await schedule.read(node.loss), await schedule.read(node.gradients[0])];
    const ofW = await schedule.read(node.gradients[1]);
    return { loss: loss[0], gain: ofGain[0], w: ofW, outcome, spectral: spectral && (await spectralRadius(schedule, spectral)) };
  };
  return { run, destroy: () => schedule.destroy() };
}

async function once(adjoint: Adjoint, similarity: SimilarityJacobian): Promise<Result> {
  const { run, destroy } = await build(adjoint, similarity);
  return run().finally(destroy);
}

const unrolled: Adjoint = { adjoint: 'unrolled', steps: STEPS };
const [implicit, through] = [await once({ adjoint: 'implicit' }, 'exact'), await once(unrolled, 'exact')];
const off = (actual: number, expected: number) => Math.abs(actual / expected - 1);
const plus = (x: Float32Array, y: Float32Array, factor: number) => x.map((v, i) => v + factor * y[i]);
const cosine = (x: Float32Array, y: Float32Array) => dot(x, y) / (norm(x) * norm(y));
function close(actual: number, expected: number, tolerance: number, what: string): void {
  assert.ok(off(actual, expected) < tolerance, `${what}: ${actual} against ${expected}`);
}

test('implicit = unrolled, for a scalar and a field', () => {
  assert.is(implicit.outcome.forward!.result, 'converged');
  assert.is(implicit.outcome.gradient, 'implicit');
  const { radius } = implicit.spectral!; // what 100 steps leave out is about radius^100
  assert.ok(radius > 0.8 && radius ** STEPS < 1e-4, `radius ${radius}`);
  close(implicit.loss, through.loss, 1e-5, 'loss');
  close(implicit.gain, through.gain, 1e-3, 'gradient for the gain');
  assert.ok(relativeError(implicit.w, through.w) < 1e-3, `gradient for w: ${relativeError(implicit.w, through.w)}`);
});

// Step 0.5 % of the parameter: the third derivative adds h², and f32's rounding (6e-8 of the loss) 1/h: measured 3e-6 and 8e-5. Of the
// factors those of the displacement along w are moved together.
test('implicit = central finite differences', async () => {
  const { run, destroy } = await build({ adjoint: 'jfb' }, 'exact');
  const slope = async (h: number, at: (step: number) => Promise<Result>) => ((await at(h)).loss - (await at(-h)).loss) / (2 * h);
  close(implicit.gain, await slope(0.005 * GAIN, (step) => run(GAIN + step)), 1e-4, 'gradient for the gain');
  const direction = factors.map((_, i) => (i < factors.length / 3 ? 1 : 0));
  const along = await slope(0.005, (step) => run(GAIN, plus(factors, direction, step)));
  close(dot(implicit.w, direction), along, 2e-4, 'gradient for factors');
  destroy();
});

test('detached: implicit = unrolled under the same detach, and neither is the true gradient', async () => {
  const [cut, cutThrough] = [await once({ adjoint: 'implicit' }, 'detached'), await once(unrolled, 'detached')];
  assert.is(cut.loss, implicit.loss);
  close(cut.gain, cutThrough.gain, 1e-3, 'gradient for the gain');
  assert.ok(relativeError(cut.w, cutThrough.w) < 1e-3);
  assert.ok(off(cut.gain, implicit.gain) > 0.8, `gradient for the gain: ${cut.gain} against ${implicit.gain}`); // 85 % too large
  assert.ok(cosine(cut.w, implicit.w) < 0.97, `cosine ${cosine(cut.w, implicit.w)}`); // 0.962
});

// By differences Jᵀv is not quite linear in v, so that the backward solve rests at a relative residual near 5e-6.
test('finite-difference: the gradient for the gain to 2 %, for w at a cosine of 0.993', async () => {
  const { outcome, loss, gain, w } = await once({ adjoint: 'implicit' }, 'finite-difference');
  assert.is(loss, implicit.loss);
  assert.ok(outcome.backward!.relativeResidual < 2e-5, `backward ${outcome.backward!.relativeResidual}`);
  close(gain, implicit.gain, 0.03, 'gradient for the gain');
  assert.ok(cosine(w, implicit.w) > 0.99, `cosine ${cosine(w, implicit.w)}`);
});

test('jfb: a cosine of 0.939, and the gradient for the gain four times too small', async () => {
  const { gain, w } = await once({ adjoint: 'jfb' }, 'exact');
  assert.ok(cosine(w, implicit.w) > 0.92 && cosine(w, implicit.w) < 0.96, `cosine ${cosine(w, implicit.w)}`);
  assert.ok(gain / implicit.gain > 0.1 && gain / implicit.gain < 0.3, `${gain} against ${implicit.gain}`);
});

test.run();
