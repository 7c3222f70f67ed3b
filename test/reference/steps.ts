// Steps that are not differentiated: Adam, and Anderson acceleration of a fixed-point iteration.
import { dot, norm } from './ndarray.ts';

export interface AdamState {
  p: Float64Array;
  m: Float64Array;
  v: Float64Array;
}

export interface AdamArgs extends AdamState {
  g: Float64Array;
  /** Counts from 1. */
  t: number;
  lr: number;
  beta1: number;
  beta2: number;
  epsilon: number;
}

/** One step of Adam as PyTorch takes it: p − lr/(1 − β1ᵗ) · m / (√v / √(1 − β2ᵗ) + ε). Returns new arrays. */
export function adamStep({ p, m, v, g, t, lr, beta1, beta2, epsilon }: AdamArgs): AdamState {
  const newM = m.map((x, i) => beta1 * x + (1 - beta1) * g[i]);
  const newV = v.map((x, i) => beta2 * x + (1 - beta2) * g[i] * g[i]);
  const step = lr / (1 - beta1 ** t);
  const correction = Math.sqrt(1 - beta2 ** t);
  return { p: p.map((x, i) => x - (step * newM[i]) / (Math.sqrt(newV[i]) / correction + epsilon)), m: newM, v: newV };
}

/** Solves the symmetric positive definite system by Cholesky factorisation. */
function choleskySolve(matrix: number[][], right: number[]): number[] {
  const n = right.length;
  const l = matrix.map((row) => [...row]);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = l[i][j];
      for (let k = 0; k < j; k++) rest -= l[i][k] * l[j][k];
      if (i === j && !(rest > 0)) {
        throw new Error(`anderson: the Gram matrix of ${n} residuals is singular (pivot ${rest}); pass a larger ridge`);
      }
      l[i][j] = i === j ? Math.sqrt(rest) : rest / l[j][j];
    }
  }
  const x = [...right];
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] -= l[i][k] * x[k];
    x[i] /= l[i][i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] -= l[k][i] * x[k];
    x[i] /= l[i][i];
  }
  return x;
}

/**
 * Weights a, Σa = 1, minimising ‖Σ a_i G_i‖² + ridge · Σ gram_ii a_i², from gram_ij = ⟨G_i, G_j⟩:
 * a ∝ (gram + ridge · diag gram)⁻¹ 1, solved with the diagonal scaled to 1 + ridge. A residual that is exactly zero takes all the weight.
 */
export function andersonSolve(gram: number[][], ridge: number): number[] {
  const exact = gram.findIndex((row, i) => row[i] === 0);
  if (exact >= 0) return gram.map((_, i) => (i === exact ? 1 : 0));
  const scale = gram.map((row, i) => 1 / Math.sqrt(row[i]));
  const system = gram.map((row, i) => row.map((x, j) => (i === j ? 1 + ridge : x * scale[i] * scale[j])));
  const solved = choleskySolve(system, scale).map((y, i) => y * scale[i]);
  const total = solved.reduce((a, b) => a + b);
  return solved.map((x) => x / total);
}

export interface AndersonOptions {
  /** Number of (z, f(z)) pairs kept; 1 is the damped Picard iteration. */
  window: number;
  /** Mixing: z_new = β Σ a_i f(z_i) + (1 − β) Σ a_i z_i. */
  beta: number;
  ridge: number;
  /** Evaluations of f at most. */
  maxIterations: number;
  rtol: number;
  atol: number;
}

export interface AndersonResult {
  /** The iterate of the smallest residual ‖f(z) − z‖. */
  value: Float64Array;
  residual: number;
  converged: boolean;
  /** Residual of every iterate, z0 first: as many as evaluations of f. */
  residuals: number[];
}

/** Anderson acceleration (Walker & Ni 2011); stops at ‖f(z) − z‖ ≤ rtol·‖f(z)‖ + atol·√n. */
export function anderson(f: (z: Float64Array) => Float64Array, z0: Float64Array, options: AndersonOptions): AndersonResult {
  const { window, beta, ridge, maxIterations, rtol, atol } = options;
  const history: { z: Float64Array; fz: Float64Array; g: Float64Array }[] = [];
  const best: AndersonResult = { value: z0, residual: Infinity, converged: false, residuals: [] };
  let z = z0;
  for (let k = 0; k < maxIterations; k++) {
    const fz = f(z);
    const g = fz.map((x, i) => x - z[i]);
    const residual = norm(g);
    best.residuals.push(residual);
    if (residual < best.residual) {
      best.value = z;
      best.residual = residual;
    }
    if (residual <= rtol * norm(fz) + atol * Math.sqrt(z.length)) return { ...best, value: z, residual, converged: true };
    history.push({ z, fz, g });
    if (history.length > window) history.shift();
    const a = andersonSolve(
      history.map((x) => history.map((y) => dot(x.g, y.g))),
      ridge,
    );
    z = z.map((_, i) => history.reduce((total, pair, j) => total + a[j] * (beta * pair.fz[i] + (1 - beta) * pair.z[i]), 0));
  }
  return best;
}
