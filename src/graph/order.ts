// Which nodes of a graph run, and in which order: no more than the outputs need, and what frees memory first.
import { bytesOf, type Graph, type Node, type Tensor } from './graph.ts';

/** Nodes that matter: those that update variables or make outputs, and everything they need. Others are dropped. */
export function liveNodes(graph: Graph): { live: Node[]; needed: Set<Tensor> } {
  const needed = new Set<Tensor>(graph.outputs);
  const live = graph.nodes
    .slice()
    .reverse()
    .filter((node) => {
      const alive = node.updates.length > 0 || node.outputs.some((t) => needed.has(t));
      if (alive) node.inputs.forEach((t) => needed.add(t));
      return alive;
    })
    .reverse();
  return { live, needed };
}

/**
 * The same nodes in another order inside of each phase: of those ready, first what frees more than it makes, most first; else the next as
 * traced. Reads and updates of variables keep their order.
 */
export function orderByNeed(graph: Graph, live: readonly Node[], needed: ReadonlySet<Tensor>): Node[] {
  const born = new Map<Tensor, number>(),
    last = new Map<Tensor, number>();
  live.forEach(({ inputs, outputs, phase }) => {
    outputs.forEach((t) => born.set(t, phase));
    inputs.forEach((t) => last.set(t, phase));
  });
  return graph.phases.flatMap((_, phase) => {
    const nodes = live.filter((node) => node.phase === phase);
    const { waits, waiting } = dependencies(nodes);
    const read = nodes.map(({ inputs }) => [...new Set(inputs)]);
    const readers = new Map<Tensor, number>();
    read.flat().forEach((t) => readers.set(t, (readers.get(t) ?? 0) + 1));
    const passing = (t: Tensor) => t.kind === 'result' && born.get(t) === phase && last.get(t) === phase && !graph.outputs.has(t);
    const made = nodes.map(({ outputs }) => outputs.reduce((sum, t) => sum + (needed.has(t) ? bytesOf(t) : 0), 0));
    const passed = read.map((ts) => ts.filter(passing));
    const growth = (i: number) => passed[i].reduce((sum, t) => (readers.get(t) === 1 ? sum - bytesOf(t) : sum), made[i]);
    const ready = new Set([...nodes.keys()].filter((i) => !waits[i]));
    const ordered: Node[] = [];
    while (ready.size) {
      let next = -1,
        least = 1;
      for (const i of ready) {
        const more = Math.min(0, growth(i));
        if (more < least || (more === least && i < next)) [next, least] = [i, more];
      }
      ready.delete(next);
      ordered.push(nodes[next]);
      read[next].forEach((t) => readers.set(t, readers.get(t)! - 1));
      waiting[next].forEach((i) => --waits[i] || ready.add(i));
    }
    return ordered;
  });
}

/** How many nodes of a phase each has to wait for, and which wait for it. */
function dependencies(nodes: readonly Node[]): { waits: number[]; waiting: Set<number>[] } {
  const waiting = nodes.map(() => new Set<number>());
  const written = new Map<Tensor, number>(),
    readSince = new Map<Tensor, number[]>();
  nodes.forEach(({ inputs, updates, outputs }, i) => {
    const after = (j: number | undefined) => j !== undefined && j !== i && waiting[j].add(i);
    inputs.forEach((t) => {
      after(written.get(t));
      readSince.set(t, [...(readSince.get(t) ?? []), i]);
    });
    updates.forEach((t) => {
      after(written.get(t));
      readSince.get(t)?.forEach(after);
      readSince.delete(t);
    });
    [...outputs, ...updates].forEach((t) => written.set(t, i));
  });
  const waits = nodes.map(() => 0);
  waiting.forEach((set) => set.forEach((i) => waits[i]++));
  return { waits, waiting };
}
