// The Jacobian penalty in its first-order form. It reads f twice, at z* and at z* + εv, and no more than one of the two keeps what its
// pullback needs: with c the penalty's cotangent at f(z* + εv), its cotangent at f(z*) is −c, which joins the main gradients' pullback.
import { type Graph, numel, type Tensor } from '../graph/graph.ts';
import { assign, axpby, dot, neg, reset, scale, sub, vjp } from '../ops/index.ts';
import { gaussianField } from '../ops/noise.ts';
import { type DeqProblem, evaluate } from './problem.ts';

export interface TracedPenalty {
  /** Phases of runs with and without the penalty, and the seed [1] of the field v. */
  on: string;
  off: string;
  seed: Tensor;
  /** ‖(f(z* + εv) − f(z*))/ε‖²/n, without weight; 0 where the penalty is off. */
  value: Tensor;
  /** What is added to the cotangent of f(z*) and to the gradients; −0 where the penalty is off, which leaves every bit as it is. */
  cotangent: Tensor;
  gradients: Tensor[];
}

/** Traces `<name>.penalty` and `<name>.no penalty`. */
export function tracePenalty(graph: Graph, name: string, { cell, shape, wrt, jacobianPenalty }: DeqProblem, best: Tensor): TracedPenalty {
  const { weight, epsilon = 0.01 } = jacobianPenalty!;
  const variable = (label: string, like: readonly number[]) => graph.variable(`${name}.penalty.${label}`, like, 'adjoint');
  const [value, cotangent, gradients] = [variable('value', [1]), variable('cotangent', shape), wrt.map((t) => variable(t.label, t.shape))];
  const seed = graph.input(`${name}.penalty.seed`, [1]);
  const [on, off] = [`${name}.penalty`, `${name}.no penalty`];
  graph.phase(on, () => {
    const still = evaluate(cell, best);
    const moved = evaluate(cell, axpby(1, best, epsilon, gaussianField(seed, shape)));
    const slope = scale(sub(moved, still), 1 / epsilon);
    assign(value, scale(dot(slope, slope), 1 / numel(shape)));
    const c = scale(slope, (2 * weight) / (epsilon * numel(shape)));
    assign(cotangent, neg(c));
    vjp([moved], [c], wrt).forEach((g, i) => assign(gradients[i], g));
  });
  graph.phase(off, () => {
    reset(value);
    [cotangent, ...gradients].forEach((t) => reset(t, -0));
  });
  graph.output(value);
  return { on, off, seed, value, cotangent, gradients };
}
