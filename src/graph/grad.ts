// Reverse-mode differentiation: one functional sweep that appends the pullback's nodes to the graph.
import type { Graph, Node, Tensor } from './graph.ts';
import { sameShape, show } from './graph.ts';

/**
 * The vector-Jacobian product: for outputs y and cotangents ȳ of the same shapes, the gradients of Σ⟨ȳ, y⟩ with
 * respect to each of `wrt`. Nodes that lie on no path from `wrt` to `outputs` are not visited, and gradients that
 * nobody wants are not computed. The tensors of `wrt` count as independent of each other: where one was computed from another,
 * nothing is passed on through it. The nodes it appends belong to the phase being traced and may be replayed.
 */
export function reverse(
  outputs: readonly Tensor[],
  cotangents: readonly Tensor[],
  wrt: readonly Tensor[],
  add: (a: Tensor, b: Tensor) => Tensor,
): Tensor[] {
  const graph: Graph = outputs[0]!.graph;
  if (outputs.length !== cotangents.length) throw new Error(`grad: ${outputs.length} outputs and ${cotangents.length} cotangents`);
  const depends = new Set<Tensor>(wrt);
  const nodes = graph.nodes.slice();
  const leaf = (node: Node) => node.op.constant || node.outputs.some((t) => wrt.includes(t));
  for (const node of nodes) {
    if (!leaf(node) && node.inputs.some((t) => depends.has(t))) node.outputs.forEach((t) => depends.add(t));
  }
  const bar = new Map<Tensor, Tensor>();
  const accumulate = (t: Tensor, cotangent: Tensor) => {
    if (!sameShape(t.shape, cotangent.shape))
      throw new Error(`grad: the cotangent of ${t.label} ${show(t.shape)} has shape ${show(cotangent.shape)}`);
    const before = bar.get(t);
    bar.set(t, before ? add(before, cotangent) : cotangent);
  };
  outputs.forEach((t, i) => accumulate(t, cotangents[i]!));
  const updated = new Set<Tensor>();
  for (const node of nodes.reverse()) {
    const { op, inputs, updates, outputs: made, attrs } = node;
    updates.forEach((t) => updated.add(t));
    if (leaf(node)) continue;
    const cotangent = made.map((t) => bar.get(t));
    const wanted = inputs.map((t) => depends.has(t));
    if (!wanted.includes(true) || !cotangent.some(Boolean)) continue;
    if (!op.vjp) throw new Error(`grad: ${op.name} has no gradient`);
    const changed = inputs.find((t) => updated.has(t));
    if (changed) throw new Error(`grad: ${changed.label} was updated after ${op.name} read it; the gradient would see its new value`);
    op.vjp({ inputs, outputs: made, cotangents: cotangent, wanted, attrs }).forEach((g, i) => {
      if (wanted[i] && g) accumulate(inputs[i]!, g);
    });
  }
  return wrt.map((t) => {
    const g = bar.get(t);
    if (!g) throw new Error(`grad: ${outputs.map((o) => o.label).join(', ')} does not depend on ${t.label}`);
    return g;
  });
}
