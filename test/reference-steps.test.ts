// The float64 Anderson solver on a small linear contraction.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dot, norm, random, relativeError } from './reference/ndarray.ts';
import { anderson, andersonSolve } from './reference/steps.ts';

const n = 12;
const next = random(7);
/** f(z) = A z + b with ‖A‖ ≤ 0.95: a diagonal of slow modes plus a small full part. */
const matrix = Array.from({ length: n }, (_, i) =>
  Array.from({ length: n }, (_, j) => (i === j ? 0.2 + (0.7 * i) / n : 0) + 0.01 * (next() - 0.5)),
);
const solution = Float64Array.from({ length: n }, () => 2 * next() - 1);
const applied = (z: Float64Array) => z.map((_, i) => dot(matrix[i], z));
const offset = solution.map((x, i) => x - applied(solution)[i]);
const f = (z: Float64Array) => applied(z).map((x, i) => x + offset[i]);
const options = { window: 5, beta: 1, ridge: 1e-12, maxIterations: 500, rtol: 1e-10, atol: 1e-12 };

test('anderson converges to the solution in fewer steps than Picard', () => {
  const accelerated = anderson(f, new Float64Array(n), options);
  const picard = anderson(f, new Float64Array(n), { ...options, window: 1 });
  for (const result of [accelerated, picard]) {
    assert.ok(result.converged);
    assert.ok(relativeError(result.value, solution) < 1e-8);
  }
  const [fast, slow] = [accelerated.residuals.length, picard.residuals.length];
  assert.ok(fast * 2 < slow, `${fast} evaluations against ${slow}`);
});

test('anderson with a window above n is GMRES: done after n + 1 residuals', () => {
  const result = anderson(f, new Float64Array(n), { ...options, window: n + 1, ridge: 0, rtol: 1e-5 });
  assert.ok(result.converged && result.residuals.length <= n + 2, `${result.residuals.length} evaluations`);
});

test('picard is f applied again and again; damping mixes z back in', () => {
  const twice = f(f(new Float64Array(n)));
  assert.ok(relativeError(anderson(f, new Float64Array(n), { ...options, window: 1, maxIterations: 3 }).value, twice) < 1e-14);
  const half = f(new Float64Array(n)).map((x) => x / 2);
  assert.ok(relativeError(anderson(f, new Float64Array(n), { ...options, window: 1, beta: 0.5, maxIterations: 2 }).value, half) < 1e-14);
});

test('anderson keeps the best iterate of a diverging problem', () => {
  const result = anderson((z) => z.map((x) => 3 * x + 1), new Float64Array(2), { ...options, window: 1, maxIterations: 5 });
  assert.not.ok(result.converged);
  assert.is(result.residual, result.residuals[0]);
  assert.equal([...result.value], [0, 0]);
});

test('anderson stops at once at a fixed point, by atol alone where f(z) = 0', () => {
  assert.is(anderson(f, solution, options).residuals.length, 1);
  assert.ok(anderson((z) => z.map((x) => x / 2), Float64Array.of(1, 1), { ...options, rtol: 0, atol: 1e-3 }).converged);
});

test('andersonSolve: Σa = 1 and stationary; large ridge prefers small residuals; a zero residual takes all', () => {
  const residuals = [
    [1, 2, 0.5],
    [-0.5, 1, 1],
    [0.1, -0.3, 2],
  ].map((row) => Float64Array.from(row));
  const gram = residuals.map((x) => residuals.map((y) => dot(x, y)));
  for (const ridge of [0, 1e-3, 0.5]) {
    const a = andersonSolve(gram, ridge);
    assert.ok(Math.abs(a.reduce((x, y) => x + y) - 1) < 1e-12);
    const slope = gram.map((row, i) => dot(row, a) + ridge * gram[i][i] * a[i]);
    assert.ok(norm(slope.map((x) => x - slope[0])) < 1e-12, 'the gradient is a multiple of (1, 1, 1)');
  }
  const heavy = andersonSolve(gram, 1e9);
  const inverse = gram.map((row, i) => 1 / row[i]);
  assert.ok(
    relativeError(
      heavy,
      inverse.map((x) => x / inverse.reduce((p, q) => p + q)),
    ) < 1e-6,
  );
  assert.equal(
    andersonSolve(
      [
        [4, 0],
        [0, 0],
      ],
      0.1,
    ),
    [0, 1],
  );
  assert.throws(
    () =>
      andersonSolve(
        [
          [1, 1],
          [1, 1],
        ],
        0,
      ),
    /singular/,
  );
});

test.run();
