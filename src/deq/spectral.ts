// The spectral radius of a cell's Jacobian at a fixed point, by power iteration of v ↦ Jᵀv over the saved linearisation: below 1 the plain
// iteration converges near z*, and so does the Neumann series behind the implicit gradient.
import { type Graph, numel, type Tensor } from '../graph/graph.ts';
import type { Schedule } from '../graph/schedule.ts';
import { assign, div, dot, fill, scale, sqrt, vjp } from '../ops/index.ts';
import { gaussianField } from '../ops/noise.ts';
import type { Linearisation } from './deq.ts';

export interface SpectralRadius {
  /** max |λ| of J, as far as the pullback sees it: what the cell detaches is left out. Over a batch, the largest of its items. */
  radius: number;
  /** `converged`: `change` fell to the tolerance. `non-finite`: Jᵀv was NaN or infinite; the radius is that of the steps before, or NaN. */
  result: 'converged' | 'max-iterations' | 'non-finite';
  /** Evaluations of Jᵀv. */
  iterations: number;
  /** How far the estimate has wandered, relatively, in the later half of the steps. */
  change: number;
}

/** A traced power iteration: phases `<name>.start` and `<name>.step`, and the RMS of Jᵀv for a v of RMS 1. */
export interface TracedSpectralRadius {
  start: string;
  step: string;
  growth: Tensor;
}

/** Steps before the first verdict: the growth can rest for a while before a slow, larger mode takes over. */
const LEAST = 50;

/**
 * Traces the power iteration of a node's Jacobian, on demand: it keeps the linearisation in memory up to here, and one more state. Trace it
 * after the node and before anything that updates its weights; run it at the same place.
 */
export function traceSpectralRadius(graph: Graph, name: string, linearisation: Linearisation | undefined): TracedSpectralRadius {
  if (!linearisation)
    throw new Error(`${name}: unrolled and checkpointed have no linearisation at a fixed point; use implicit, jfb or phantom`);
  const { z, y } = linearisation;
  const v = graph.variable(`${name}.v`, z.shape, 'adjoint');
  const normalise = (w: Tensor) => {
    const rms = sqrt(scale(dot(w, w), 1 / numel(w.shape)));
    assign(v, div(w, rms));
    return graph.output(rms);
  };
  const [start, step] = [`${name}.start`, `${name}.step`];
  // Noise about 1: every mode has a part in it, and the smoothest, which are often the largest, not the least.
  graph.phase(start, () => void normalise(scale(gaussianField(fill(graph, [1], 1), z.shape), 1, 1)));
  return { start, step, growth: graph.phase(step, () => normalise(vjp([y], [v], [z])[0])) };
}

/**
 * Runs a traced power iteration after `runDeq`, until the estimate stays within `tolerance` (relative, default 0.002) or the budget ends.
 */
export async function spectralRadius(
  schedule: Schedule,
  { start, step, growth }: TracedSpectralRadius,
  { maxIterations = 300, tolerance = 2e-3 }: { maxIterations?: number; tolerance?: number } = {},
): Promise<SpectralRadius> {
  if (!Number.isInteger(maxIterations) || maxIterations < 1)
    throw new Error(`spectralRadius: maxIterations must be a whole number above 0, got ${maxIterations}`);
  if (!(tolerance > 0)) throw new Error(`spectralRadius: tolerance must be above 0, got ${tolerance}`);
  schedule.run(start);
  const logs: number[] = [];
  const estimates: number[] = [];
  let change = Infinity;
  const done = (result: SpectralRadius['result']) => ({ radius: estimates.at(-1) ?? NaN, result, iterations: logs.length, change });
  while (logs.length < maxIterations) {
    const [[g]] = (await schedule.runAndRead(step, [growth])) as [Float32Array];
    if (g === 0) return { radius: 0, result: 'converged', iterations: logs.length + 1, change: 0 }; // nilpotent
    if (!Number.isFinite(g)) return { ...done('non-finite'), iterations: logs.length + 1 };
    logs.push(Math.log(g));
    const now = Math.exp(meanGrowth(logs.slice(logs.length >> 1)));
    estimates.push(now);
    change = Math.max(...estimates.slice(estimates.length >> 1).map((before) => Math.abs(before / now - 1)));
    if (logs.length >= LEAST && change <= tolerance) return done('converged');
  }
  return done('max-iterations');
}

/**
 * Mean of the logarithmic growth over steps in a row, weighted down to both ends: the slope of the least-squares line through log ‖(Jᵀ)ᵏv‖.
 * The growth of one step oscillates where the largest eigenvalues are a complex pair; this mean does not.
 */
function meanGrowth(logs: number[]): number {
  const weights = logs.map((_, i) => (i + 1) * (logs.length - i));
  return logs.reduce((sum, log, i) => sum + weights[i] * log, 0) / weights.reduce((a, b) => a + b);
}
