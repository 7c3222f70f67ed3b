// Fixed-point correction: iterates of the forward solve are kept, and each is pulled back by one step of the cell, one at a time.
import type { Graph, Tensor } from '../graph/graph.ts';
import { add, assign, grad, reset, scale, vjp } from '../ops/index.ts';
import { type DeqProblem, evaluate } from './problem.ts';
import type { Iteration } from './solver.ts';

/** The variables that hold the kept iterates. `reserve` belongs into the solve's start: from there on their memory is theirs. */
export function correctionStates(graph: Graph, name: string, { correction, shape }: DeqProblem): { kept: Tensor[]; reserve: () => void } {
  const kept = (correction?.iterations ?? []).map((k) => graph.variable(`${name}.iterate ${k}`, shape, 'history'));
  return { kept, reserve: () => kept.forEach((z) => reset(z)) };
}

export interface TracedCorrection {
  /** The phases that keep iterates, run by the solver, and those of the losses, run after it. */
  keep: NonNullable<Iteration['keep']>;
  phases: string[];
  /** loss(f(z_k)), without weight. */
  losses: Tensor[];
  /** Gradients of all of them together, weighted, for each of `wrt`. */
  gradients: Tensor[];
}

/** Traces `<name>.keep k` and `<name>.correction k`. */
export function traceCorrection(graph: Graph, name: string, problem: DeqProblem, { z }: Iteration, kept: Tensor[]): TracedCorrection {
  const { cell, loss: lossOf, wrt } = problem;
  const { iterations, weight } = problem.correction!;
  const keep = iterations.map((k, i) => {
    const phase = `${name}.keep ${k}`;
    graph.phase(phase, () => assign(kept[i], z));
    return { iteration: k, phase };
  });
  const losses: Tensor[] = [];
  let gradients: Tensor[] = [];
  const phases = iterations.map((k, i) => {
    const phase = `${name}.correction ${k}`;
    graph.phase(phase, () => {
      const y = evaluate(cell, kept[i]);
      const loss = lossOf(y);
      losses.push(graph.output(loss));
      const found = vjp([y], [scale(grad(loss, [y])[0], weight)], wrt);
      gradients = found.map((g, w) => (gradients[w] ? add(gradients[w], g) : g));
    });
    return phase;
  });
  return { keep, phases, losses, gradients };
}
