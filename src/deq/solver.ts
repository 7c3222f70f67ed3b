// Fixed-point solvers on one protocol: trace a step over any map, then run it until a verdict, which is data.
import type { Schedule } from '../graph/schedule.ts';
import { type Graph, numel, type Shape, type Tensor } from '../graph/graph.ts';
import { checkOptions } from '../graph/options.ts';
import { assign, reset } from '../ops/index.ts';
import { anderson, andersonState, type AndersonOptions, readStatistics, resetAnderson, type StepStatistics } from './anderson.ts';

/**
 * How an iteration is advanced: plain steps, damped (default 1), or Anderson acceleration (by default window 5, β 1, ridge 1e-3). By β = 1,
 * what the history does not span is multiplied by the map's Jacobian as it is: where that has eigenvalues below −1, a smaller β lets the
 * iterate rest. `best` is of the step with the smallest residual f(z) − z: f(z), or, where it `keeps` the iterate, z. The residual is that
 * of z; where the map is steep, that of f(z) is larger.
 */
export type Method = { method: 'picard'; damping?: number } | ({ method: 'anderson' } & Partial<AndersonOptions>);

export interface StopRule {
  maxIterations: number;
  /** Stop at ‖f(z) − z‖ ≤ rtol·‖f(z)‖ + atol·√n, n the number of values; atol is thus an RMS, in the state's unit. */
  rtol: number;
  atol: number;
  /** Stagnated: the best residual did not fall by 1 % in this many steps. */
  patience: number;
  /** Diverged: the residual grew to this many times its smallest. Default 10; Infinity for what has no fixed point to miss. */
  divergence?: number;
}

/**
 * `converged`: the tolerance is met. `stagnated`: no progress for `patience` steps. `diverged`: the residual grew to `divergence` times its
 * smallest. `non-finite`: NaN or infinity. What is returned is always of the step with the smallest finite residual, or the start where
 * there is none.
 */
export type Verdict = 'converged' | 'max-iterations' | 'stagnated' | 'diverged' | 'non-finite';

export interface Outcome {
  result: Verdict;
  /** Evaluations of the map: up to three more than the verdict needed, because steps are sent before the last residual is known. */
  iterations: number;
  /** RMS of f(z) − z after each evaluation, in the state's unit. */
  residuals: number[];
  /** Smallest RMS residual, and ‖f(z) − z‖/‖f(z)‖ at that step: of the z that is kept, or whose f(z) is. */
  residual: number;
  relativeResidual: number;
}

/** Steps that may be under way before the residual of the first of them is looked at. Fixed, so that runs are reproducible. */
const LAG = 3;

/** What a map returns: f(z), and optionally a scalar (a similarity, say) that is reported with every step. */
export interface Mapped {
  next: Tensor;
  monitor?: Tensor;
}

/** A traced iteration: its phases, the running iterate z, the best of them (or of their f(z)), and what is read after each step. */
export interface Iteration {
  name: string;
  start: string;
  step: string;
  z: Tensor;
  best: Tensor;
  reads: Tensor[];
  size: number;
  /** Phases that run once each, after that many evaluations, or after the last one where there are fewer. */
  keep?: readonly { iteration: number; phase: string }[];
}

/** A step as it is reported: its number from 1, the RMS of f(z) − z, and the map's monitor. */
export interface Step {
  iteration: number;
  residual: number;
  monitor?: number;
}

const optionsOf = { picard: ['method', 'damping'], anderson: ['method', 'window', 'beta', 'ridge', 'keeps'] } as const;
const rules = ['maxIterations', 'rtol', 'atol', 'patience', 'divergence'];

/**
 * Anderson's options for a method; plain iteration with damping τ is a window of one with β = τ. Throws on a method or an option that is
 * none.
 */
export function andersonOptions(method: Method): Required<AndersonOptions> {
  if (!Object.hasOwn(optionsOf, method.method))
    throw new Error(`unknown method ${method.method}; there are ${Object.keys(optionsOf).join(', ')}`);
  checkOptions(method.method, method, optionsOf[method.method]);
  if (method.method === 'picard') {
    const { damping = 1 } = method;
    if (!(damping > 0 && damping <= 1)) throw new Error(`picard: damping must lie in (0, 1], got ${damping}`);
    return { window: 1, beta: damping, ridge: 0, keeps: 'value' };
  }
  const { window = 5, beta = 1, ridge = 1e-3, keeps = 'value' } = method;
  if (keeps !== 'value' && keeps !== 'iterate') throw new Error(`anderson: keeps must be value or iterate, got ${keeps}`);
  return { window, beta, ridge, keeps };
}

function checkRule(rule: StopRule): void {
  checkOptions('iterate', rule, rules);
  if (!Number.isInteger(rule.maxIterations) || rule.maxIterations < 1)
    throw new Error(`iterate: maxIterations must be a whole number above 0, got ${rule.maxIterations}`);
  if (!(rule.patience >= 1 && (Number.isInteger(rule.patience) || rule.patience === Infinity)))
    throw new Error(`iterate: patience must be a whole number above 0, or Infinity, got ${rule.patience}`);
  for (const name of ['rtol', 'atol'] as const)
    if (!(rule[name] >= 0)) throw new Error(`iterate: ${name} must be a number ≥ 0, got ${rule[name]}`);
  if (rule.divergence !== undefined && !(rule.divergence > 1))
    throw new Error(`iterate: divergence must be a number above 1, got ${rule.divergence}`);
}

/**
 * Traces the phases `<name>.start` (z ← initial, or 0; the history forgotten; `atStart`) and `<name>.step` (one evaluation of `map`
 * and one update of z). `best` is of the smallest residual, as the method keeps it.
 */
export function traceIteration(
  graph: Graph,
  name: string,
  method: Method,
  shape: Shape,
  map: (z: Tensor) => Mapped,
  initial?: () => Tensor,
  atStart?: () => void,
): Iteration {
  const options = andersonOptions(method);
  const start = `${name}.start`,
    step = `${name}.step`;
  const memory = andersonState(graph.variable(`${name}.z`, shape), options.window);
  graph.phase(start, () => {
    if (initial) assign(memory.z, initial());
    else reset(memory.z);
    resetAnderson(memory);
    atStart?.();
  });
  const monitor = graph.phase(step, () => {
    const mapped = map(memory.z);
    if (!mapped?.next)
      throw new Error(`${name}: the map must return { next, monitor? }, got ${'graph' in (mapped ?? {}) ? 'a tensor' : mapped}`);
    const { next, monitor } = mapped;
    anderson(memory, next, options);
    return monitor && graph.output(monitor);
  });
  return {
    name,
    start,
    step,
    z: memory.z,
    best: memory.best,
    reads: monitor ? [memory.state, monitor] : [memory.state],
    size: numel(shape),
  };
}

/** Runs a traced iteration to its verdict. `onStep` hears of every step, in order, a few steps late. */
export async function iterate(
  schedule: Schedule,
  { start, step, reads, size, keep = [] }: Iteration,
  rule: StopRule,
  onStep?: (step: Step) => void,
): Promise<Outcome> {
  checkRule(rule);
  schedule.run(start);
  const pending: Promise<Float32Array[]>[] = [];
  const seen: StepStatistics[] = [];
  const look = async () => {
    const [state, monitor] = await pending.shift()!;
    const statistics = readStatistics(state);
    seen.push(statistics);
    onStep?.({ iteration: seen.length, residual: statistics.residual / Math.sqrt(size), monitor: monitor?.[0] });
  };
  let result: Verdict | undefined;
  for (let sent = 0; !result && seen.length < rule.maxIterations;) {
    if (sent < rule.maxIterations) {
      const read = schedule.runAndRead(step, reads);
      read.catch(() => undefined); // an error is thrown where it is awaited; those under way behind it need no one
      pending.push(read);
      sent++;
      keep.forEach(({ iteration, phase }) => iteration === sent && schedule.run(phase));
    }
    if (pending.length > LAG || sent === rule.maxIterations) {
      await look();
      result = verdict(seen, rule, size);
    }
  }
  while (pending.length) await look(); // under way when the verdict fell; they count, and may be the best
  keep.forEach(({ iteration, phase }) => iteration > seen.length && schedule.run(phase));
  const best = seen.reduce((a, b) => (b.finite && !(a.finite && a.residual <= b.residual) ? b : a));
  return {
    result: result ?? 'max-iterations',
    iterations: seen.length,
    residuals: seen.map((s) => s.residual / Math.sqrt(size)),
    residual: best.residual / Math.sqrt(size),
    relativeResidual: best.residual === 0 ? 0 : best.residual / best.magnitude,
  };
}

function verdict(seen: StepStatistics[], { rtol, atol, patience, divergence = 10 }: StopRule, size: number): Verdict | undefined {
  const last = seen[seen.length - 1];
  if (!last.finite) return 'non-finite';
  if (last.residual <= rtol * last.magnitude + atol * Math.sqrt(size)) return 'converged';
  const smallest = (steps: StepStatistics[]) => Math.min(...steps.map((s) => s.residual));
  const best = smallest(seen);
  if (last.residual > divergence * best) return 'diverged';
  if (seen.length > patience && best > 0.99 * smallest(seen.slice(0, -patience))) return 'stagnated';
  return undefined;
}
