// The deep-equilibrium node: y = f(z*), z* = f(z*), and the gradient of a loss on y, by one of several adjoints over the same cell.
//   implicit      v = Jᵀv + g by the same solver, from pullbacks at z* alone (J = ∂f/∂z is never formed); then θ̄ = (∂f/∂θ)ᵀ v
//   jfb           v = g, its zeroth order (Fung et al., arXiv 2103.12803)
//   phantom       k steps from z*, all but the first damped, differentiated (after Geng et al., arXiv 2111.05177)
//   unrolled      T steps from the start, back-propagation through time: memory grows with T
//   checkpointed  the same gradient, segments recomputed: memory grows with √T
// Bai, Kolter & Koltun, Deep Equilibrium Models, NeurIPS 2019.
import type { Graph, Tensor } from '../graph/graph.ts';
import type { Schedule } from '../graph/schedule.ts';
import { add, assign, axpby, grad, reset, vjp } from '../ops/index.ts';
import { SEEDS } from '../ops/noise.ts';
import { correctionStates, traceCorrection } from './correction.ts';
import { type TracedPenalty, tracePenalty } from './penalty.ts';
import { type Adjoint, checkProblem, type DeqProblem, evaluate, isUnrolled, lossOn } from './problem.ts';
import { type Iteration, iterate, type Outcome, type StopRule, traceIteration, type Verdict } from './solver.ts';
import { traceUnrolled } from './unrolled.ts';

export type { Adjoint, Correction, DeqProblem, JacobianPenalty } from './problem.ts';

/** f at a fixed point, with what its pullback needs: z*, and f(z*) computed from it. */
export interface Linearisation {
  z: Tensor;
  y: Tensor;
}

/** A traced node: y (unless `passing`), loss and gradients are outputs of the graph; `phases` run in order, iterations to their verdict. */
export interface Deq {
  adjoint: Adjoint['adjoint'];
  y: Tensor;
  loss: Tensor;
  /** For each of `wrt`, of the loss plus the weighted correction and penalty. */
  gradients: Tensor[];
  /** loss(f(z_k)) of each kept iterate, [1] each, without weight. */
  corrections: Tensor[];
  /** ‖(f(z* + εv) − f(z*))/ε‖²/n, [1], without weight; 0 after a run without the penalty. */
  jacobianPenalty?: Tensor;
  /** Of implicit, jfb and phantom: what `traceSpectralRadius` takes. */
  linearisation?: Linearisation;
  phases: (
    | string
    | { role: 'forward' | 'backward'; iteration: Iteration }
    | { role: 'restart'; phase: string }
    | { role: 'penalty'; penalty: Pick<TracedPenalty, 'on' | 'off' | 'seed'> }
  )[];
}

/** What may change from run to run. */
export interface DeqRun {
  forward: StopRule;
  backward: StopRule;
  /** The Jacobian penalty applies to this run, with the field v of this seed (a whole number below 2²⁴); left out, it has no effect. */
  jacobianPenalty?: { seed: number };
  /** Of `warmStart`: this run starts from `initial` (or 0) again. */
  restart?: boolean;
}

/** How the solves ended, and which gradient that makes. */
export interface DeqOutcome {
  forward?: Outcome;
  backward?: Outcome;
  /**
   * The adjoint's name where the backward solve did what it says; how the forward solve ended, and so at what it is the gradient, is in
   * `forward`. A backward solve that does not converge gives its best iterate: `implicit, inexact`, of the residual in `backward`. Where
   * not even its first evaluation is finite it gives g, which is JFB. Neither is ever NaN, if g is not.
   */
  gradient: Adjoint['adjoint'] | `implicit, inexact (backward ${Verdict})` | `jfb (backward ${Verdict})`;
}

/** Traces forward, loss and backward of an equilibrium. Phases are named `<name>.…`. */
export function deq(graph: Graph, name: string, problem: DeqProblem): Deq {
  checkProblem(problem);
  const { adjoint } = problem.adjoint;
  const traced: Deq = isUnrolled(problem.adjoint)
    ? { adjoint, corrections: [], ...traceUnrolled(graph, name, problem) }
    : traceEquilibrium(graph, name, problem);
  [...(problem.passing ? [] : [traced.y]), traced.loss, ...traced.gradients].forEach((t) => graph.output(t));
  return traced;
}

/** Runs all phases of a traced node once: forward solve, loss, backward solve, gradients. */
export async function runDeq(schedule: Schedule, { adjoint, phases }: Deq, run: DeqRun): Promise<DeqOutcome> {
  const has = (role: string) => phases.some((phase) => typeof phase !== 'string' && phase.role === role);
  if (run.restart && !has('restart')) throw new Error('deq: restart applies to a node traced with warmStart');
  if (run.jacobianPenalty && !has('penalty')) throw new Error('deq: jacobianPenalty applies to a node traced with jacobianPenalty');
  const solves: Pick<DeqOutcome, 'forward' | 'backward'> = {};
  for (const phase of phases) {
    if (typeof phase === 'string') schedule.run(phase);
    else if (phase.role === 'penalty') runPenalty(schedule, phase.penalty, run.jacobianPenalty?.seed);
    else if (phase.role !== 'restart') solves[phase.role] = await iterate(schedule, phase.iteration, run[phase.role]);
    else if (run.restart) schedule.run(phase.phase);
  }
  return { ...solves, gradient: gradientOf(adjoint, solves.backward) };
}

function runPenalty(schedule: Schedule, { on, off, seed }: Pick<TracedPenalty, 'on' | 'off' | 'seed'>, value?: number): void {
  if (value === undefined) return schedule.run(off);
  if (!Number.isInteger(value) || value < 0 || value >= SEEDS)
    throw new Error(`deq: the seed of jacobianPenalty must be a whole number in 0 … ${SEEDS - 1}, got ${value}`);
  schedule.upload(seed, Float32Array.of(value));
  schedule.run(on);
}

function gradientOf(adjoint: Adjoint['adjoint'], backward?: Outcome): DeqOutcome['gradient'] {
  if (!backward || backward.result === 'converged') return adjoint;
  return Number.isFinite(backward.residual) ? `implicit, inexact (backward ${backward.result})` : `jfb (backward ${backward.result})`;
}

function traceEquilibrium(graph: Graph, name: string, problem: DeqProblem): Deq {
  const { cell, shape, initial, wrt, method = { method: 'anderson' }, adjoint } = problem;
  const phases: Deq['phases'] = [];
  const start = problem.warmStart ? graph.variable(`${name}.previous`, shape, 'history', { persistent: true }) : undefined;
  if (start) {
    const phase = `${name}.restart`;
    graph.phase(phase, () => (initial ? assign(start, initial()) : reset(start)));
    phases.push({ role: 'restart', phase });
  }
  const { kept, reserve } = correctionStates(graph, name, problem);
  const map = (z: Tensor) => ({ next: evaluate(cell, z) });
  const forward = traceIteration(graph, `${name}.forward`, method, shape, map, start ? () => start : initial, reserve);
  const { best } = forward;
  // Corrections and the penalty's moved cell come before the linearisation, so that their intermediate values share its memory.
  const correction = problem.correction && traceCorrection(graph, name, problem, forward, kept);
  phases.push({ role: 'forward', iteration: { ...forward, keep: correction?.keep } }, ...(correction?.phases ?? []));
  const penalty = problem.jacobianPenalty && tracePenalty(graph, name, problem, best);
  if (penalty) phases.push({ role: 'penalty', penalty });
  const finish = ({ at, y }: { at: Tensor; y: Tensor }, cotangent: Tensor): Tensor[] => {
    const main = penalty ? vjp([y, at], [cotangent, penalty.cotangent], wrt) : vjp([y], [cotangent], wrt);
    const extra = [correction?.gradients, penalty?.gradients].filter((gradients) => gradients !== undefined);
    return extra.reduce((sums, found) => sums.map((sum, i) => add(sum, found[i])), main);
  };
  // One more evaluation at z*, whose intermediate values stay for the pullbacks; no adjoint step repeats it. Where no adjoint is solved
  // for, the gradients follow in the same phase, which frees each of those values after its last use.
  const solved = adjoint.adjoint === 'implicit';
  const { at, y, loss, g, direct } = graph.phase(`${name}.linearise`, () => {
    const at = evaluate(cell, best);
    let y = at;
    if (adjoint.adjoint === 'phantom')
      for (let k = 1; k < adjoint.steps; k++) y = axpby(1 - adjoint.damping, y, adjoint.damping, evaluate(cell, y));
    const loss = lossOn(y, problem);
    if (start) assign(start, best);
    const g = grad(loss, [y])[0];
    return { at, y, loss, g, direct: solved ? [] : finish({ at, y }, g) };
  });
  phases.push(`${name}.linearise`);
  let gradients = direct;
  if (adjoint.adjoint === 'implicit') {
    const pull = (v: Tensor) => ({ next: add(vjp([y], [v], [best])[0], g) });
    const backward = traceIteration(graph, `${name}.adjoint`, adjoint.method ?? method, shape, pull, () => g);
    gradients = graph.phase(`${name}.gradients`, () => finish({ at, y }, backward.best));
    phases.push({ role: 'backward', iteration: backward }, `${name}.gradients`);
  }
  return {
    adjoint: adjoint.adjoint,
    y,
    loss,
    gradients,
    corrections: correction?.losses ?? [],
    jacobianPenalty: penalty?.value,
    linearisation: { z: best, y: at },
    phases,
  };
}
