// What an equilibrium node is asked for: the cell, the loss, the adjoint and the options of training, each checked before anything is
// traced.
import { dependsOn } from '../graph/grad.ts';
import { checkOptions } from '../graph/options.ts';
import { sameShape, type Shape, show, type Tensor } from '../graph/graph.ts';
import type { Method } from './solver.ts';

export type Adjoint =
  | { adjoint: 'implicit'; method?: Method }
  | { adjoint: 'jfb' }
  | { adjoint: 'phantom'; steps: number; damping: number }
  | { adjoint: 'unrolled' | 'checkpointed'; steps: number };

/**
 * A loss on iterates of the forward solve (fixed-point correction: Bai et al., Deep Equilibrium Optical Flow, CVPR 2022): each adds
 * weight · loss(f(z_k)), with its one-step (JFB) gradient. Memory: one state for each, and one set of gradients.
 */
export interface Correction {
  /**
   * After how many evaluations of the cell an iterate is kept: rising, above 0. Where the solve ends earlier, the iterate it ended at (its
   * last, which need not be its best) stands in.
   */
  iterations: readonly number[];
  weight: number;
}

/**
 * Adds weight · ‖(f(z* + εv) − f(z*))/ε‖²/n, v standard normal, n values: for small ε the expectation of ‖Jv‖²/n, and so of ‖J‖²_F/n,
 * without second derivatives (Bai, Koltun & Kolter, Stabilizing Equilibrium Models by Jacobian Regularization, ICML 2021). z* counts as
 * constant. Each run says whether it applies (`DeqRun.jacobianPenalty`). Memory: two states and one set of gradients.
 */
export interface JacobianPenalty {
  weight: number;
  /**
   * ε in the state's unit, default 0.01: much less bends f(z* + εv) − f(z*) by rounding, much more by the cell's curvature. Cells of f16
   * need 0.1 or more.
   */
  epsilon?: number;
}

export interface DeqProblem {
  /** The update, on the graph: z ↦ f(z). It may read inputs and weights; it must return the state's shape. */
  cell: (z: Tensor) => Tensor;
  /** Shape of the state. */
  shape: Shape;
  /** Where the iteration starts; 0 if left out. It counts as constant: no gradient passes through it, to a coarser level for instance. */
  initial?: () => Tensor;
  /** A scalar of y, shape [1]. */
  loss: (y: Tensor) => Tensor;
  /** What gradients are wanted for: weights or inputs of the cell. The loss depends on them through y alone. */
  wrt: readonly Tensor[];
  /** How z* is found; unrolled and checkpointed take plain steps instead. */
  method?: Method;
  adjoint: Adjoint;
  /** Of implicit, jfb and phantom, as are the two that follow. */
  correction?: Correction;
  jacobianPenalty?: JacobianPenalty;
  /**
   * The solve starts from the result of the run before, kept in one more state, unless the run says `restart`: for runs of one problem
   * whose weights or inputs change little. The first run on a schedule must restart.
   */
  warmStart?: boolean;
  /** y is not an output of the graph: its memory serves others where no later phase uses it. */
  passing?: boolean;
}

/** Without a solve that ends at a fixed point, there is nothing for these to act on. */
const ofEquilibria = ['correction', 'jacobianPenalty', 'warmStart'] as const;

export const adjoints = ['implicit', 'jfb', 'phantom', 'checkpointed', 'unrolled'] as const satisfies readonly Adjoint['adjoint'][];

const optionsOf: Record<Adjoint['adjoint'], readonly string[]> = {
  implicit: ['adjoint', 'method'],
  jfb: ['adjoint'],
  phantom: ['adjoint', 'steps', 'damping'],
  checkpointed: ['adjoint', 'steps'],
  unrolled: ['adjoint', 'steps'],
};
const options: readonly (keyof DeqProblem)[] = ['cell', 'shape', 'initial', 'loss', 'wrt', 'method', 'adjoint', ...ofEquilibria, 'passing'];

export const isUnrolled = ({ adjoint }: Adjoint): boolean => adjoint === 'unrolled' || adjoint === 'checkpointed';

/** Throws on options out of range, and on those that do not apply to the adjoint. */
export function checkProblem(problem: DeqProblem): void {
  const { adjoint, correction, jacobianPenalty } = problem;
  checkOptions('deq', problem, options);
  if (!adjoints.includes(adjoint.adjoint)) throw new Error(`deq: unknown adjoint ${adjoint.adjoint}; there are ${adjoints.join(', ')}`);
  checkOptions(`deq: ${adjoint.adjoint}`, adjoint, optionsOf[adjoint.adjoint], 'adjoint.');
  if (isUnrolled(adjoint)) {
    const extra = ofEquilibria.filter((option) => problem[option]);
    if (extra.length) throw new Error(`deq: ${extra.join(', ')} does not apply to ${adjoint.adjoint}; use implicit, jfb or phantom`);
  }
  if (optionsOf[adjoint.adjoint].includes('steps')) {
    const { steps } = adjoint as { steps?: number };
    if (!(Number.isInteger(steps) && steps! > 0))
      throw new Error(`deq: ${adjoint.adjoint} needs a whole number of steps above 0, got ${steps}`);
  }
  if (adjoint.adjoint === 'phantom' && !(adjoint.damping > 0 && adjoint.damping <= 1))
    throw new Error(`deq: the damping of phantom must lie in (0, 1], got ${adjoint.damping}`);
  if (correction) {
    checkOptions('deq', correction, ['iterations', 'weight'], 'correction.');
    const { iterations, weight } = correction;
    if (!iterations.length || !iterations.every((k, i) => Number.isInteger(k) && k > (iterations[i - 1] ?? 0)))
      throw new Error(`deq: correction.iterations must be rising whole numbers above 0, got [${iterations.join(', ')}]`);
    checkPositive('correction.weight', weight);
  }
  if (jacobianPenalty) {
    checkOptions('deq', jacobianPenalty, ['weight', 'epsilon'], 'jacobianPenalty.');
    checkPositive('jacobianPenalty.weight', jacobianPenalty.weight);
    if (jacobianPenalty.epsilon !== undefined) checkPositive('jacobianPenalty.epsilon', jacobianPenalty.epsilon);
  }
}

function checkPositive(name: string, value: number): void {
  if (!(value > 0 && value < Infinity)) throw new Error(`deq: ${name} must be a finite number above 0, got ${value}`);
}

/** The loss of y, checked: what it reads of `wrt` beside y would be missing from the gradients of most adjoints. */
export function lossOn(y: Tensor, { loss: lossOf, wrt }: DeqProblem): Tensor {
  const loss = lossOf(y);
  const direct = wrt.find((t) => dependsOn(loss, t, y));
  if (direct)
    throw new Error(
      `deq: the loss depends on ${direct.label} not through y alone; leave that part out, and add its gradient to the node's`,
    );
  return loss;
}

/** f(z), checked: a cell returns the state's shape. */
export function evaluate(cell: DeqProblem['cell'], z: Tensor): Tensor {
  const next = cell(z);
  if (!next?.shape) throw new Error(`deq: the cell must return a tensor, got ${next}`);
  if (!sameShape(next.shape, z.shape)) throw new Error(`deq: the cell returns ${show(next.shape)} for a state of ${show(z.shape)}`);
  return next;
}
