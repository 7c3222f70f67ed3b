// Pullbacks by finite differences, for functions whose Jacobian is symmetric.
import { numel, type Op, sameShape, show, type Tensor } from '../graph/graph.ts';
import { copy } from './channels.ts';
import { add, dot, mul, reciprocal, scale, sqrt, sub } from './pointwise.ts';

/** Below this (RMS) a cotangent counts as 0: its step is shorter, down to none. */
const SMALLEST = 1e-15;

interface SymmetricAttrs {
  f: (u: Tensor) => Tensor;
  step: number;
}

const symmetricJacobianOp: Op<SymmetricAttrs> = {
  name: 'symmetricJacobian',
  shape([u, value], { step }) {
    if (!sameShape(u, value))
      throw new Error(`symmetricJacobian: a square Jacobian needs one shape, got u ${show(u)} and value ${show(value)}`);
    if (!(step > 0)) throw new Error(`symmetricJacobian: step must be above 0, got ${step}`);
    return [value];
  },
  launch: ({ inputs: [, value], outputs: [y] }) => [copy(value, y, numel(y.shape), 1, { from: 0, of: 1 }, { to: 0, of: 1 }, 1)],
  vjp({ inputs: [u, , ...others], outputs: [y], cotangents: [v], wanted: [wanted, , ...wantedOthers], attrs: { f, step } }) {
    const other = others.find((_, i) => wantedOthers[i]);
    if (other) throw new Error(`symmetricJacobian: the value also depends on ${other.label}, for which it has no gradient`);
    if (!wanted) return [];
    const rms = sqrt(scale(dot(v!, v!), 1 / numel(v!.shape), SMALLEST ** 2));
    const moved = add(u, mul(v!, scale(reciprocal(rms), step)));
    return [mul(sub(f(moved), y), scale(rms, 1 / step))];
  },
};

/** What is read on the way from u to `value` and does not come from u itself. */
function othersThan(u: Tensor, value: Tensor): Tensor[] {
  const fromU = new Set([u]);
  const way = u.graph.nodes.filter((node) => {
    const depends = node.inputs.some((t) => fromU.has(t));
    if (depends) node.outputs.forEach((t) => fromU.add(t));
    return depends;
  });
  const needed = new Set([value]),
    others = new Set<Tensor>();
  for (const node of way.reverse()) {
    if (!node.outputs.some((t) => needed.has(t))) continue;
    node.inputs.forEach((t) => (fromU.has(t) ? needed : others).add(t));
  }
  return [...others];
}

/**
 * `value`, which is f(u), differentiated as if its Jacobian J were symmetric, as that of a scalar's gradient is: Jᵀv = Jv ≈
 * (f(u + εv̂) − f(u)) · |v|/ε, v̂ = v/|v|, |v| the root mean square, ε = `step` in units of u. One evaluation of f a pullback; v = 0
 * gives 0. The centre-only force of LNCC (`lnccForce`) leaves out terms of such a gradient: for it J is symmetric only approximately.
 * Wanted gradients for anything but u are refused.
 */
export function symmetricJacobian(f: (u: Tensor) => Tensor, u: Tensor, value: Tensor, step = 0.02): Tensor {
  return u.graph.apply(symmetricJacobianOp, [u, value, ...othersThan(u, value)], { f, step })[0];
}
