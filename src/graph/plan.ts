// The planner: liveness over all phases → buffers, with exact bytes by tag, before any device is there.
import { noBytes, tags, type Bytes, type Tag } from '../gpu/ledger.ts';
import { type AdapterInfo, STAGING_BYTES, mebibytes } from '../gpu/device.ts';
import { packParams } from '../gpu/kernel.ts';
import { bytesOf, type Dispatch, type DType, type Graph, type Node, type Processor, sameShape, show, type Tensor } from './graph.ts';
import { liveNodes, orderByNeed } from './order.ts';

/** First and last dispatch that a value must outlast. */
type Life = [from: number, to: number];

/** A buffer of the plan. It may serve several tensors whose lives do not overlap. */
export interface Slot {
  bytes: number;
  tag: Tag;
  label: string;
  /** In order, from dispatch to dispatch. */
  lives: Life[];
}

export interface PlannedPhase {
  name: string;
  dispatches: Dispatch[];
  /** Variables that it changes and whose former values it needs. */
  changes: Set<Tensor>;
}

export interface Plan {
  phases: PlannedPhase[];
  slots: Slot[];
  slotOf: Map<Tensor, Slot>;
  /** Bytes of the CPU-visible window that outputs are read through. */
  stagingBytes: number;
  /** Bytes of the parameter buffer of all dispatches. */
  paramBytes: number;
  /** Peak GPU memory of the whole schedule: every buffer it will ever make. */
  peak: Bytes;
}

/** Small values (solver statistics) read while later steps run: this many may be under way at once. */
export const READBACKS = 8;
export const READBACK_BYTES = 256;
/**
 * Parameters never change: each dispatch has a slot of its own, at an offset that every device takes, written once when the schedule is
 * built.
 */
const PARAM_ALIGNMENT = 256;
export const paramBytesOf = ({ kernel, params = {} }: Dispatch): number =>
  PARAM_ALIGNMENT * Math.max(1, Math.ceil(packParams(kernel, params).byteLength / PARAM_ALIGNMENT));

/** A dispatch in its place: the phase and the op that it belongs to, by their numbers in order. */
interface Placed {
  dispatch: Dispatch;
  phase: number;
  op: number;
}

export const processorOf = ({ software }: Pick<AdapterInfo, 'software'>): Processor => (software ? 'cpu' : 'gpu');

/**
 * Plans all phases of a graph for a processor, in the order in which they were traced; inside of a phase, ops as traced or by need,
 * whatever takes less memory. A GPU needs as many bytes as a CPU: there is room for the parameters of whichever has more launches.
 */
export function plan(graph: Graph, processor: Processor = 'cpu'): Plan {
  const { live, needed } = liveNodes(graph);
  const launchesOn = (processor: Processor) => new Map(live.map((node) => [node, launch(graph, node, needed, processor)]));
  const launched = launchesOn(processor);
  launched.forEach((dispatches) => dispatches.forEach(checkDispatch));
  const needs = [launched, launchesOn(processor === 'cpu' ? 'gpu' : 'cpu')].map((of) =>
    [...of.values()].flat().reduce((bytes, dispatch) => bytes + paramBytesOf(dispatch), 0),
  );
  const paramBytes = Math.max(PARAM_ALIGNMENT, ...needs);
  const [traced, byNeed] = [live, orderByNeed(graph, live, needed)].map((nodes) =>
    allocate(
      graph,
      nodes,
      nodes.flatMap((node, op) => launched.get(node)!.map((dispatch) => ({ dispatch, phase: node.phase, op }))),
      paramBytes,
    ),
  );
  return byNeed.peak.total < traced.peak.total ? byNeed : traced;
}

/** Lives of all values, buffers for them, and the sum. */
function allocate(graph: Graph, nodes: readonly Node[], placed: Placed[], paramBytes: number): Plan {
  const { life, born } = livesOf(graph, placed);
  const hosts = takeOver(graph, placed, life, born);

  const slots: Slot[] = [];
  const slotOf = new Map<Tensor, Slot>();
  const opOf = (at: number) => placed[at]?.op ?? placed.length; // of an output, the end
  // In ops, not in dispatches: of these a GPU may have others than a CPU, and memory shall be the same.
  const order = [...life].map(([t, life]) => ({ t, life, bytes: bytesOf(t), length: opOf(life[1]) - opOf(life[0]) }));
  order.sort((a, b) => b.bytes - a.bytes || b.length - a.length || a.t.id - b.t.id); // of equals, the longest life first
  for (const { t, life, bytes } of order) {
    const tag = t.kind === 'workspace' ? 'workspace' : t.tag;
    let slot = smallestFree(slots, life, tag);
    if (!slot) slots.push((slot = { bytes, tag, label: t.label, lives: [] }));
    if (tags.indexOf(tag) < tags.indexOf(slot.tag)) slot.tag = tag;
    slot.lives.splice(placeOf(slot.lives, life), 0, life);
    slotOf.set(t, slot);
  }
  hosts.forEach((host, t) => slotOf.set(t, slotOf.get(host)!));

  const phases: PlannedPhase[] = graph.phases.map((name, phase) => ({
    name,
    dispatches: [],
    changes: changesIn(nodes.filter((node) => node.phase === phase)),
  }));
  placed.forEach(({ dispatch, phase }) => phases[phase].dispatches.push(dispatch));
  const outputBytes = Math.max(0, ...[...graph.outputs].map((t) => bytesOf(t)));
  const stagingBytes = Math.min(STAGING_BYTES, outputBytes);
  const peak = noBytes();
  const count = (tag: Tag, bytes: number) => {
    peak.byTag[tag] += bytes;
    peak.total += bytes;
  };
  slots.forEach((s) => count(s.tag, s.bytes));
  count('workspace', paramBytes);
  count('staging', stagingBytes + READBACKS * READBACK_BYTES);
  return { phases, slots, slotOf, stagingBytes, paramBytes, peak };
}

/** Variables that ops, in order, change and do not overwrite first. */
function changesIn(nodes: readonly Node[]): Set<Tensor> {
  const changed = new Set<Tensor>(),
    written = new Set<Tensor>();
  for (const { op, updates } of nodes) {
    const overwritten = op.overwrites?.(updates) ?? [];
    for (const t of updates) if (!written.has(t) && !overwritten.includes(t)) changed.add(t);
    updates.forEach((t) => written.add(t));
  }
  return changed;
}

/** Where a life goes among others in order, none of which overlaps another: behind those that begin before it. */
function placeOf(lives: readonly Life[], [from]: Life): number {
  let low = 0,
    high = lives.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lives[middle][0] < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Of the slots that are free through a life, the smallest of the tag, or else the smallest. Slots come with falling sizes. */
function smallestFree(slots: readonly Slot[], life: Life, tag: Tag): Slot | undefined {
  let other: Slot | undefined;
  for (let i = slots.length - 1; i >= 0; i--) {
    const slot = slots[i];
    const place = placeOf(slot.lives, life);
    if (slot.lives[place]?.[0] <= life[1] || slot.lives[place - 1]?.[1] >= life[0]) continue;
    if (slot.tag === tag) return slot;
    other ??= slot;
  }
  return other;
}

function livesOf(graph: Graph, placed: readonly Placed[]): { life: Map<Tensor, Life>; born: Map<Tensor, number> } {
  const life = new Map<Tensor, Life>();
  const touch = (t: Tensor, from: number, to = from) => {
    const old = life.get(t);
    life.set(t, old ? [Math.min(old[0], from), Math.max(old[1], to)] : [from, to]);
  };
  const first: number[] = [],
    last: number[] = [];
  placed.forEach(({ phase }, at) => {
    first[phase] ??= at;
    last[phase] = at;
  });
  const end = placed.length;
  const born = new Map<Tensor, number>();
  placed.forEach(({ dispatch, phase }, at) => {
    dispatch.holds?.forEach((t) => touch(t, last[phase] + 1));
    for (const t of Object.values(dispatch.bindings)) {
      if (!born.has(t)) born.set(t, phase);
      // A phase may run many times: what outlives one dispatch of it must survive the whole of it, unless made and used inside.
      const local = (t.kind === 'result' || t.kind === 'workspace') && born.get(t) === phase;
      if (t.kind === 'input') touch(t, 0, last[phase]);
      else if (local) touch(t, at);
      else touch(t, first[phase], last[phase]);
    }
  });
  for (const t of graph.outputs) {
    if (!life.has(t)) throw new Error(`plan: output ${t.label} is computed by no phase`);
    touch(t, life.get(t)![0], end);
  }
  for (const t of life.keys()) if (t.persistent) touch(t, 0, end);
  return { life, born };
}

/**
 * Lets results take over the buffer of what their dispatch is the last to need: replaces the dispatch by the kernel in place, joins the
 * lives, and returns whose buffer each such result has.
 */
function takeOver(graph: Graph, placed: Placed[], life: Map<Tensor, Life>, born: ReadonlyMap<Tensor, number>): Map<Tensor, Tensor> {
  const hosts = new Map<Tensor, Tensor>();
  placed.forEach(({ dispatch, phase, op }, at) => {
    const { inPlace, bindings, constants } = dispatch;
    const y = inPlace && bindings[inPlace.result];
    if (!y || y.kind !== 'result' || life.get(y)![0] !== at) return;
    const chosen = inPlace.of.findIndex(({ name, meanwhile }) => {
      const x = bindings[name];
      const ends = x.kind === 'result' && born.get(x) === phase && life.get(hosts.get(x) ?? x)![1] === at;
      return ends && !graph.outputs.has(x) && x !== bindings[meanwhile] && bytesOf(x) === bytesOf(y) && sameShape(x.shape, y.shape);
    });
    if (chosen < 0) return;
    const { name, meanwhile } = inPlace.of[chosen];
    const x = bindings[name];
    const host = hosts.get(x) ?? x;
    hosts.set(y, host);
    life.set(host, [life.get(host)![0], life.get(y)![1]]);
    life.delete(y);
    placed[at] = {
      phase,
      op,
      dispatch: { ...dispatch, bindings: { ...bindings, [name]: bindings[meanwhile] }, constants: { ...constants, IN_PLACE: chosen + 1 } },
    };
  });
  return hosts;
}

/** Bytes that every adapter binds at once: WebGPU's least maxStorageBufferBindingSize. */
export const LEAST_BINDING = 2 ** 27;

/** The largest buffer of a plan. */
export const largestOf = ({ slots }: Plan): Slot | undefined => slots.toSorted((a, b) => b.bytes - a.bytes)[0];

/** Refuses, before anything is allocated, a plan that an adapter cannot hold. */
export function checkLimits(p: Plan, limits: { maxStorageBufferBindingSize: number; maxBufferSize: number }, adapter: string): void {
  const most = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
  const worst = largestOf(p);
  if (worst && worst.bytes > most) {
    throw new Error(
      `${worst.label} needs a buffer of ${mebibytes(worst.bytes)}, but ${adapter} binds at most ${mebibytes(most)}; ` +
        (worst.tag === 'input'
          ? 'use a smaller volume, or an adapter with larger bindings'
          : 'use a smaller volume or coarser levels, fewer channels or a smaller Anderson window, or an adapter with larger bindings'),
    );
  }
}

function launch(graph: Graph, { op, inputs, updates, outputs, attrs }: Node, needed: Set<Tensor>, processor: Processor): Dispatch[] {
  const workspace = (label: string, shape: readonly number[], dtype: DType = 'f32') =>
    graph.tensor('workspace', `${op.name}.${label}`, shape, 'workspace', dtype);
  return op.launch({ inputs, updates, outputs, attrs, used: outputs.map((t) => needed.has(t)), processor, workspace }).map(stored);
}

/** Chooses the kernel's storage type `real` by the tensors bound to it; all other bindings hold f32. */
function stored(dispatch: Dispatch): Dispatch {
  const { kernel, bindings, constants } = dispatch;
  const [real, plain] = [true, false].map((is) =>
    kernel.bindings.filter((b) => b.real === is && bindings[b.name]).map((b) => bindings[b.name]),
  );
  const dtype = real[0]?.dtype ?? 'f32';
  const wrong = real.find((t) => t.dtype !== dtype) ?? plain.find((t) => t.dtype !== 'f32');
  if (wrong) throw new Error(`kernels/${kernel.name}.wgsl: cannot bind ${wrong.label} ${show(wrong.shape)} as ${wrong.dtype}`);
  return dtype === 'f32' ? dispatch : { ...dispatch, constants: { ...constants, real: dtype } };
}

/** One buffer may not be read and written by one dispatch, and every binding and parameter of the kernel needs a value. */
function checkDispatch({ kernel, bindings, params = {}, groups }: Dispatch): void {
  packParams(kernel, params);
  const names = kernel.bindings.filter((b) => b.access !== 'params');
  const missing = names.filter((b) => !bindings[b.name]).map((b) => b.name);
  const extra = Object.keys(bindings).filter((name) => !names.some((b) => b.name === name));
  if (missing.length || extra.length) throw new Error(`kernels/${kernel.name}.wgsl: bindings missing [${missing}], unknown [${extra}]`);
  const written = names.filter((b) => b.access === 'read_write').map((b) => bindings[b.name]);
  for (const b of names) {
    const t = bindings[b.name];
    if (b.access !== 'read_write' ? written.includes(t) : written.filter((w) => w === t).length > 1) {
      throw new Error(`kernels/${kernel.name}.wgsl: ${t.label} is bound twice and written by one dispatch`);
    }
    if (b.access === 'read_write' && t.kind === 'input') throw new Error(`kernels/${kernel.name}.wgsl: writes the input ${t.label}`);
  }
  if (groups.some((n) => !Number.isInteger(n) || n < 1 || n > 65535)) {
    const shapes = names.map((b) => `${b.name} ${show(bindings[b.name].shape)}`).join(', ');
    throw new Error(
      `kernels/${kernel.name}.wgsl: ${groups.join('×')} workgroups for ${shapes}; an axis takes 1 to 65535: use fewer channels, items or slices`,
    );
  }
}
