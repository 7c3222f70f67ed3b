// The deep-equilibrium node: y = f(z*), z* = f(z*), and the gradient of a loss on y, by one of several adjoints over the same cell.
//   implicit      v = Jᵀv + g by the same solver, from pullbacks at z* alone (J = ∂f/∂z is never formed); then θ̄ = (∂f/∂θ)ᵀ v
//   jfb           v = g, its zeroth order (Fung et al., arXiv 2103.12803)
//   phantom       k damped steps from z*, differentiated (Geng et al., arXiv 2111.05177)
//   unrolled      T steps from the start, back-propagation through time: memory grows with T
//   checkpointed  the same gradient, segments recomputed: memory grows with √T
// Bai, Kolter & Koltun, Deep Equilibrium Models, NeurIPS 2019.
import { type Graph, sameShape, type Shape, show, type Tensor } from '../graph/graph.ts';
import type { Schedule } from '../graph/schedule.ts';
import { add, axpby, fill, grad, vjp } from '../ops/index.ts';
import { type Iteration, iterate, type Method, type Outcome, type StopRule, traceIteration } from './solver.ts';

export type Adjoint =
  | { adjoint: 'implicit'; method?: Method }
  | { adjoint: 'jfb' }
  | { adjoint: 'phantom'; steps: number; damping: number }
  | { adjoint: 'unrolled' | 'checkpointed'; steps: number };

export interface DeqProblem {
  /** The update, on the graph: z ↦ f(z). It may read inputs and weights; it must return the state's shape. */
  cell: (z: Tensor) => Tensor;
  /** Shape of the state. */
  shape: Shape;
  /** Where the iteration starts; 0 if left out. */
  initial?: () => Tensor;
  /** A scalar of y, shape [1]. */
  loss: (y: Tensor) => Tensor;
  /** What gradients are wanted for: weights or inputs of the cell. The loss depends on them through y alone. */
  wrt: readonly Tensor[];
  /** How z* is found; unrolled and checkpointed take plain steps instead. */
  method?: Method;
  adjoint: Adjoint;
}

/** A traced node: y, loss and gradients are outputs of the graph; `phases` run in order, iterations to their verdict. */
export interface Deq {
  y: Tensor;
  loss: Tensor;
  gradients: Tensor[];
  phases: (string | { role: 'forward' | 'backward'; iteration: Iteration })[];
}

/** How the solves ended. A backward solve that does not converge returns its best iterate, at worst g itself: the JFB gradient. */
export interface DeqOutcome {
  forward?: Outcome;
  backward?: Outcome;
}

/** Traces forward, loss and backward of an equilibrium. Phases are named `<name>.…`. */
export function deq(graph: Graph, name: string, problem: DeqProblem): Deq {
  const traced =
    problem.adjoint.adjoint === 'unrolled' || problem.adjoint.adjoint === 'checkpointed'
      ? unrolled(graph, name, problem)
      : equilibrium(graph, name, problem);
  [traced.y, traced.loss, ...traced.gradients].forEach((t) => graph.output(t));
  return traced;
}

/** Runs all phases of a traced node once: forward solve, loss, backward solve, gradients. */
export async function runDeq(schedule: Schedule, { phases }: Deq, rules: { forward: StopRule; backward: StopRule }): Promise<DeqOutcome> {
  const outcome: DeqOutcome = {};
  for (const phase of phases) {
    if (typeof phase === 'string') schedule.run(phase);
    else outcome[phase.role] = await iterate(schedule, phase.iteration, rules[phase.role]);
  }
  return outcome;
}

/** f(z), checked: a cell returns the state's shape. */
function step(cell: DeqProblem['cell'], z: Tensor): Tensor {
  const next = cell(z);
  if (!sameShape(next.shape, z.shape)) throw new Error(`deq: the cell returns ${show(next.shape)} for a state of ${show(z.shape)}`);
  return next;
}

function equilibrium(
  graph: Graph,
  name: string,
  { cell, shape, initial, loss: lossOf, wrt, method = { method: 'anderson' }, adjoint }: DeqProblem,
): Deq {
  const forward = traceIteration(graph, `${name}.forward`, method, shape, (z) => ({ next: step(cell, z) }), initial);
  // One more evaluation at z*, whose intermediate values stay for the pullbacks; no adjoint step repeats it.
  const { y, loss, g } = graph.phase(`${name}.linearise`, () => {
    let y = step(cell, forward.best);
    if (adjoint.adjoint === 'phantom')
      for (let k = 1; k < adjoint.steps; k++) y = axpby(1 - adjoint.damping, y, adjoint.damping, step(cell, y));
    const loss = lossOf(y);
    return { y, loss, g: grad(loss, [y])[0]! };
  });
  const phases: Deq['phases'] = [{ role: 'forward', iteration: forward }, `${name}.linearise`];
  let cotangent = g;
  if (adjoint.adjoint === 'implicit') {
    const backward = traceIteration(
      graph,
      `${name}.adjoint`,
      adjoint.method ?? method,
      shape,
      (v) => ({ next: add(vjp([y], [v], [forward.best])[0]!, g) }),
      () => g,
    );
    phases.push({ role: 'backward', iteration: backward });
    cotangent = backward.best;
  }
  const gradients = graph.phase(`${name}.gradients`, () => vjp([y], [cotangent], wrt));
  return { y, loss, gradients, phases: [...phases, `${name}.gradients`] };
}

function unrolled(graph: Graph, name: string, { cell, shape, initial, loss: lossOf, wrt, adjoint }: DeqProblem): Deq {
  const { steps } = adjoint as { steps: number };
  if (!Number.isInteger(steps) || steps < 1) throw new Error(`deq: ${adjoint.adjoint} needs a whole number of steps above 0, got ${steps}`);
  const several = (z: Tensor, count: number) => Array.from({ length: count }).reduce<Tensor>((at) => step(cell, at), z);
  const begin = () => (initial ? initial() : fill(graph, shape, 0));
  if (adjoint.adjoint === 'unrolled') {
    return graph.phase(name, () => {
      const y = several(begin(), steps);
      const loss = lossOf(y);
      return { y, loss, gradients: grad(loss, wrt), phases: [name] };
    });
  }
  const count = Math.ceil(Math.sqrt(steps));
  const lengths = Array.from({ length: count }, (_, s) => Math.floor(((s + 1) * steps) / count) - Math.floor((s * steps) / count)).filter(
    Boolean,
  );
  // Forward: only the state between segments outlives its phase.
  const starts = [graph.phase(`${name}.start`, begin)];
  lengths.slice(0, -1).forEach((length, s) => starts.push(graph.phase(`${name}.segment ${s}`, () => several(starts[s]!, length))));
  // Backward, from the last segment: its steps again, now with what the pullback needs.
  let result: { y: Tensor; loss: Tensor } | undefined;
  let bar: Tensor | undefined;
  let gradients: Tensor[] = [];
  for (let s = lengths.length - 1; s >= 0; s--) {
    graph.phase(`${name}.pullback ${s}`, () => {
      const end = several(starts[s]!, lengths[s]!);
      if (!result) {
        const loss = lossOf(end);
        result = { y: end, loss };
        bar = grad(loss, [end])[0]!;
      }
      const [down, ...found] = vjp([end], [bar!], [starts[s]!, ...wrt]);
      gradients = found.map((g, i) => (gradients[i] ? add(gradients[i]!, g) : g));
      bar = down;
    });
  }
  const phases = graph.phases.filter((phase) => phase.startsWith(`${name}.`));
  return { ...result!, gradients, phases };
}
