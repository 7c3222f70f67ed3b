// Back-propagation through time over plain steps: the reference that the equilibrium's adjoints are compared with.
import type { Graph, Tensor } from '../graph/graph.ts';
import { add, detach, fill, grad, vjp } from '../ops/index.ts';
import { type DeqProblem, evaluate, lossOn } from './problem.ts';

interface Unrolled {
  y: Tensor;
  loss: Tensor;
  gradients: Tensor[];
  phases: string[];
}

/** T steps from the start, kept for the pullback whole or by segments. The start counts as constant, as for every adjoint. */
export function traceUnrolled(graph: Graph, name: string, problem: DeqProblem): Unrolled {
  const { cell, shape, initial, wrt, adjoint } = problem;
  const { steps } = adjoint as { steps: number };
  const several = (z: Tensor, count: number) => Array.from({ length: count }).reduce<Tensor>((at) => evaluate(cell, at), z);
  const begin = () => (initial ? detach(initial()) : fill(graph, shape, 0));
  if (adjoint.adjoint === 'unrolled') {
    return graph.phase(name, () => {
      const y = several(begin(), steps);
      const loss = lossOn(y, problem);
      return { y, loss, gradients: grad(loss, wrt), phases: [name] };
    });
  }
  const count = Math.ceil(Math.sqrt(steps));
  const lengths = Array.from({ length: count }, (_, s) => Math.floor(((s + 1) * steps) / count) - Math.floor((s * steps) / count)).filter(
    Boolean,
  );
  const before = graph.phases.length;
  // Forward: only the state between segments outlives its phase.
  const starts = [graph.phase(`${name}.start`, begin)];
  lengths.slice(0, -1).forEach((length, s) => starts.push(graph.phase(`${name}.segment ${s}`, () => several(starts[s], length))));
  // Backward, from the last segment: its steps again, now with what the pullback needs.
  let result: { y: Tensor; loss: Tensor } | undefined;
  let bar: Tensor | undefined;
  let gradients: Tensor[] = [];
  for (let s = lengths.length - 1; s >= 0; s--) {
    graph.phase(`${name}.pullback ${s}`, () => {
      const end = several(starts[s], lengths[s]);
      if (!result) {
        const loss = lossOn(end, problem);
        result = { y: end, loss };
        bar = grad(loss, [end])[0];
      }
      const [down, ...found] = vjp([end], [bar!], [starts[s], ...wrt]);
      gradients = found.map((g, i) => (gradients[i] ? add(gradients[i], g) : g));
      bar = down;
    });
  }
  return { ...result!, gradients, phases: graph.phases.slice(before) };
}
