// A small quasi-Newton ascent for a handful of parameters: BFGS with a backtracking line search.

export interface Point<T> {
  at: T;
  value: number;
  gradient: number[];
}

export interface BfgsOptions {
  iterations: number;
  /** Length of the first step. */
  first: number;
  /** Ends when steps get shorter than this. */
  shortest: number;
}

/**
 * Climbs from `start`. `move` takes a step (in tangent coordinates), `evaluate` gives value and gradient there; both in units in which
 * a step of 1 matters equally for all parameters. Nocedal & Wright, Numerical Optimization, chapter 6.
 */
export async function bfgs<T>(
  start: Point<T>,
  move: (at: T, step: number[]) => T,
  evaluate: (at: T) => Promise<Point<T>>,
  { iterations, first, shortest }: BfgsOptions,
): Promise<Point<T>> {
  const n = start.gradient.length;
  const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const eye = (scale: number) => Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (i === j ? scale : 0)));
  let here = start;
  let inverse = eye(first / Math.max(1e-12, Math.sqrt(dot(start.gradient, start.gradient))));
  for (let k = 0; k < iterations; k++) {
    let step = inverse.map((row) => dot(row, here.gradient));
    if (!(dot(step, here.gradient) > 0)) {
      inverse = eye(first / Math.max(1e-12, Math.sqrt(dot(here.gradient, here.gradient))));
      step = inverse.map((row) => dot(row, here.gradient));
    }
    const length = Math.sqrt(dot(step, step));
    if (length > 4 * first) step = step.map((x) => (x * 4 * first) / length); // trust no model further than this
    let next = await evaluate(move(here.at, step));
    while (!(next.value > here.value + 1e-4 * dot(step, here.gradient)) && Math.sqrt(dot(step, step)) > shortest) {
      step = step.map((x) => x / 3);
      next = await evaluate(move(here.at, step));
    }
    if (!(next.value > here.value)) return here;
    const y = next.gradient.map((g, i) => here.gradient[i] - g); // of the function turned upside down
    const sy = dot(step, y);
    if (sy > 1e-12) {
      const hy = inverse.map((row) => dot(row, y));
      const factor = (1 + dot(y, hy) / sy) / sy;
      inverse = inverse.map((row, i) => row.map((h, j) => h + factor * step[i] * step[j] - (hy[i] * step[j] + step[i] * hy[j]) / sy));
    }
    const done = Math.sqrt(dot(step, step)) < shortest;
    here = next;
    if (done) break;
  }
  return here;
}
