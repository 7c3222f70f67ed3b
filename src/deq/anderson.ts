// Anderson acceleration as one op on the graph: the ring of past values, the Gram matrix and the mixing stay on the GPU.
import mixSource from '../../kernels/anderson_mix.wgsl';
import pushSource from '../../kernels/anderson_push.wgsl';
import solveSource from '../../kernels/anderson_solve.wgsl';
import { constantsOf, kernel } from '../gpu/kernel.ts';
import { type Dispatch, numel, type Op, sameShape, show, type Tensor } from '../graph/graph.ts';
import { LEAST_BINDING } from '../graph/plan.ts';
import { fillWith, flat, SUMMING } from '../ops/launch.ts';
import { partialsOf } from '../ops/reduce.ts';
import { assign } from '../ops/index.ts';

const pushKernel = kernel('anderson_push', pushSource);
const solveKernel = kernel('anderson_solve', solveSource);
const mixKernel = kernel('anderson_mix', mixSource);

export interface AndersonOptions {
  /** Past values that are mixed; 1 is the plain (Picard) iteration. At most 8. */
  window: number;
  /** Mixing β: 1 takes the mixed values of f, less damps towards the mixed states. */
  beta: number;
  /** Tikhonov ridge relative to the Gram matrix's diagonal. */
  ridge: number;
  /**
   * Which vector is kept at the smallest residual f(z) − z: f(z) (`value`, the default), or z itself (`iterate`), to which that residual
   * belongs.
   */
  keeps?: 'value' | 'iterate';
}

/** The state z of a fixed-point iteration and what the accelerator remembers; 2·window + 2 volumes in all. */
export interface AndersonState {
  z: Tensor;
  best: Tensor;
  gram: Tensor;
  state: Tensor;
  /** The rings of past f(z) − (1 − β)·(f(z) − z) and f(z) − z, each part [window, elements] of a stretch of z. */
  values: readonly Tensor[];
  residuals: readonly Tensor[];
}

/** The state buffer's length in f32, and where in it which field is. */
const { STATE, RESIDUAL, MAGNITUDE, FINITE } = constantsOf('anderson') as Record<'STATE' | 'RESIDUAL' | 'MAGNITUDE' | 'FINITE', number>;

const andersonOp: Op<AndersonOptions> = {
  name: 'anderson',
  shape([f], { window, beta, ridge }, [z, , gram]) {
    if (!sameShape(f, z)) throw new Error(`anderson: the map returns ${show(f)} for a state of ${show(z)}`);
    if (gram[0] !== window) throw new Error(`anderson: a window of ${window} over a history of ${gram[0]}`);
    if (!(beta > 0 && beta <= 1)) throw new Error(`anderson: beta must lie in (0, 1], got ${beta}`);
    if (!(ridge >= 0)) throw new Error(`anderson: ridge must be ≥ 0, got ${ridge}`);
    return [];
  },
  launch(node): Dispatch[] {
    const {
      inputs: [f],
      updates: [z, best, gram, state, ...rings],
      attrs: { window, beta, ridge, keeps = 'value' },
    } = node;
    const lanes = numel(f.shape) % 4 === 0 ? 4 : 1;
    let first = 0;
    let rows = 0;
    const parts = rings.slice(0, rings.length / 2).map((values, p) => {
      const count = values.shape[1] / lanes;
      const groups = partialsOf(count);
      const part = { values, residuals: rings[rings.length / 2 + p], count, first, groups, row: rows };
      first += count;
      rows += groups;
      return part;
    });
    const partials = node.workspace('partials', [rows, window + 1]);
    const shift = keeps === 'value' ? 1 - beta : -beta;
    const summing = { WINDOW: window, WG: SUMMING[node.processor] };
    return [
      ...parts.map(({ values, residuals, count, first, groups, row }): Dispatch => ({
        kernel: pushKernel,
        constants: { ...summing, LANES: lanes },
        groups: [groups, 1, 1],
        params: { count, first, row, one_minus_beta: 1 - beta },
        bindings: { f, z, state, values, residuals, partials },
      })),
      {
        kernel: solveKernel,
        constants: summing,
        groups: [1, 1, 1],
        bindings: { partials, gram, state },
        params: { rows, ridge },
      },
      ...parts.map(({ values, residuals, count, first }): Dispatch => ({
        kernel: mixKernel,
        groups: flat(count).groups,
        constants: { ...flat(count).constants, WINDOW: window, LANES: lanes, SHIFTED: shift !== 0 },
        params: { count, first, shift },
        bindings: { values, residuals, state, z, best },
      })),
    ];
  },
};

/** The history is read no further than the state says that it is filled: to forget it takes no more than the state. */
const resetOp: Op<object> = {
  name: 'resetAnderson',
  shape: () => [],
  launch: ({ updates: [state, ...history] }) => [{ ...fillWith(state, 0), holds: history }],
  overwrites: (updates) => updates,
};

/**
 * Declares what an iteration over a state variable needs, rings in parts of at most `most` bytes. Trace `resetAnderson` in the phase that
 * sets z.
 */
export function andersonState(z: Tensor, window: number, most = LEAST_BINDING): AndersonState {
  if (!Number.isInteger(window) || window < 1 || window > 8) throw new Error(`anderson: window must be 1 to 8, got ${window}`);
  const { graph, label } = z;
  const elements = numel(z.shape);
  const part = 4 * Math.ceil(elements / 4 / Math.ceil((4 * window * elements) / most)); // whole vectors of four
  const parts = Array.from({ length: Math.ceil(elements / part) }, (_, p) => Math.min(part, elements - p * part));
  const history = (name: string, shape: readonly number[]) => graph.variable(`${label}.${name}`, shape, 'history');
  const ring = (name: string) => parts.map((count) => history(name, [window, count]));
  return {
    z,
    best: history('best', z.shape),
    gram: history('gram', [window, window]),
    state: history('state', [STATE]),
    values: ring('values'),
    residuals: ring('residuals'),
  };
}

/** Forgets the history, so that the next step is the first; z is the best so far. */
export function resetAnderson({ z, best, gram, state, values, residuals }: AndersonState): void {
  assign(best, z);
  z.graph.apply(resetOp, [], {}, [state, gram, ...values, ...residuals]);
}

/**
 * One step of Anderson acceleration (Walker & Ni, SIAM J. Numer. Anal. 2011): given f = f(z), replaces z by the mixture of past
 * values whose mixed residual is least, and keeps in `best` the f(z), or the z, of the smallest residual ‖f(z) − z‖ so far.
 */
export function anderson({ z, best, gram, state, values, residuals }: AndersonState, f: Tensor, options: AndersonOptions): void {
  z.graph.apply(andersonOp, [f], options, [z, best, gram, state, ...values, ...residuals]);
}

/** What the CPU reads of a step. */
export interface StepStatistics {
  residual: number;
  magnitude: number;
  finite: boolean;
}

export const readStatistics = (state: Float32Array): StepStatistics => ({
  residual: state[RESIDUAL],
  magnitude: state[MAGNITUDE],
  finite: state[FINITE] === 1,
});
