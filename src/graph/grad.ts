// Reverse-mode differentiation: one functional sweep that appends the pullback's nodes to the graph.
import { bytesOf, type Graph, type Node, sameShape, show, type Tensor } from './graph.ts';

/**
 * The vector-Jacobian product: for outputs y and cotangents ȳ of the same shapes, the gradients of Σ⟨ȳ, y⟩ with respect to each of `wrt`.
 * Nodes that lie on no path from `wrt` to `outputs` are not visited, and gradients that nobody wants are not computed. The tensors of `wrt`
 * count as independent of each other: where one was computed from another, nothing is passed on through it. A variable counts as a
 * constant, for the phase that updated it may have run any number of times; within the phase of its update it is refused. What is read of
 * variables is their value when the pullback runs: run it before they are changed again. The nodes it appends belong to the phase being
 * traced and may be replayed.
 */
export function reverse(
  outputs: readonly Tensor[],
  cotangents: readonly Tensor[],
  wrt: readonly Tensor[],
  add: (a: Tensor, b: Tensor) => Tensor,
): Tensor[] {
  const graph: Graph = outputs[0].graph;
  if (outputs.length !== cotangents.length) throw new Error(`grad: ${outputs.length} outputs and ${cotangents.length} cotangents`);
  const depends = new Set<Tensor>(wrt);
  const nodes = graph.nodes.slice();
  const leaf = (node: Node) => node.op.constant || node.outputs.some((t) => wrt.includes(t));
  /** Variables that a phase has updated from what depends on `wrt`. */
  const updatedIn = new Map<Tensor, number>();
  const wants = new Map<Node, boolean[]>();
  for (const node of nodes) {
    const wanted = node.inputs.map((t) => depends.has(t) || updatedIn.get(t) === node.phase);
    const any = !leaf(node) && wanted.includes(true);
    if (any) {
      wants.set(node, wanted);
      node.outputs.forEach((t) => depends.add(t));
    }
    node.updates.forEach((t) => (any && !wrt.includes(t) ? updatedIn.set(t, node.phase) : updatedIn.delete(t)));
  }
  const bar = new Map<Tensor, Tensor>();
  const accumulate = (t: Tensor, cotangent: Tensor) => {
    if (!sameShape(t.shape, cotangent.shape))
      throw new Error(`grad: the cotangent of ${t.label} ${show(t.shape)} has shape ${show(cotangent.shape)}`);
    const before = bar.get(t);
    bar.set(t, before ? add(before, cotangent) : cotangent);
  };
  outputs.forEach((t, i) => accumulate(t, cotangents[i]));
  const recomputed = recomputer(graph, nodes, wrt);
  const updated = new Set<Tensor>();
  for (const node of nodes.toReversed()) {
    const { op, inputs, updates, outputs: made, attrs } = node;
    updates.forEach((t) => updated.add(t));
    const wanted = wants.get(node);
    const cotangent = made.map((t) => bar.get(t));
    if (!wanted || !cotangent.some(Boolean)) continue;
    const variable = inputs.find((t, i) => wanted[i] && !depends.has(t));
    if (variable)
      throw new Error(
        `grad: ${op.name} reads ${variable.label}, which this phase updated; no gradient passes through an update, use its value`,
      );
    if (!op.vjp) throw new Error(`grad: ${op.name} has no gradient`);
    const changed = inputs.find((t) => updated.has(t));
    if (changed) throw new Error(`grad: ${changed.label} was updated after ${op.name} read it; the gradient would see its new value`);
    op.vjp({ inputs: inputs.map(recomputed), outputs: made, cotangents: cotangent, wanted, attrs }).forEach((g, i) => {
      if (wanted[i] && g) accumulate(inputs[i], g);
    });
  }
  return wrt.map((t) => {
    const g = bar.get(t);
    if (!g) throw new Error(`grad: ${outputs.map((o) => o.label).join(', ')} does not depend on ${t.label}`);
    return g;
  });
}

/** Whether a value was computed from `t` on a way that does not lead through `except`. */
export function dependsOn(value: Tensor, t: Tensor, except: Tensor): boolean {
  const depends = new Set([t]);
  for (const { op, inputs, outputs } of t.graph.nodes)
    if (!op.constant && inputs.some((x) => depends.has(x))) outputs.forEach((made) => made !== except && depends.add(made));
  return depends.has(value);
}

/**
 * Maps a forward value to what a pullback should read: the value itself, or the same recomputed in the phase being traced, through chains
 * of ops marked `recompute`, where their inputs take less memory than the value. Not where a variable that it was computed from has been
 * updated since. What nobody reads of this is dead code and never planned.
 */
function recomputer(graph: Graph, nodes: readonly Node[], wrt: readonly Tensor[]): (t: Tensor) => Tensor {
  const makers = new Map<Tensor, number>();
  const updates = new Map<Tensor, number>();
  nodes.forEach((node, at) => {
    node.outputs.forEach((t) => makers.set(t, at));
    node.updates.forEach((t) => updates.set(t, at));
  });
  const known = new Map<Tensor, Tensor>();
  const makerOf = (t: Tensor): Node | undefined => {
    const at = makers.get(t);
    const node = at === undefined ? undefined : nodes[at];
    return node?.op.recompute && !wrt.includes(t) && node.inputs.every((x) => (updates.get(x) ?? -1) < at!) ? node : undefined;
  };
  /** What would have to be kept to make it again. */
  const kept = (t: Tensor): Tensor[] => makerOf(t)?.inputs.flatMap(kept) ?? (t.kind === 'variable' ? [] : [t]);
  const again = (t: Tensor): Tensor => {
    const node = makerOf(t);
    if (!node) return t;
    if (!known.has(t)) {
      const made = graph.apply(node.op, node.inputs.map(again), node.attrs);
      node.outputs.forEach((output, i) => known.set(output, made[i]));
    }
    return known.get(t)!;
  };
  return (t) => ([...new Set(kept(t))].reduce((sum, from) => sum + bytesOf(from), 0) < bytesOf(t) ? again(t) : t);
}
