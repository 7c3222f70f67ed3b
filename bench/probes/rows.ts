// A row of the kernel bench: an op at one size with its inputs, how its work is counted, and its float64 reference. Nothing here runs.
import { bytesOf, type Dispatch, type DType, type Tensor } from '../../src/graph/graph.ts';
import { cast, Graph, plan, type Plan, type Processor, type Shape } from '../../src/index.ts';
import type { NdArray } from '../../test/reference/ndarray.ts';
import type { Size } from './sizes.ts';

export interface Input {
  label: string;
  shape: Shape;
  values(): Float32Array;
  /** Stays f32 where the row's volumes are stored in f16. */
  weights?: boolean;
}

export interface Row {
  kernel: string;
  /** dx: the gradient for the volumes that go in; dw: for the weights. */
  pass: 'forward' | 'dx' | 'dw';
  size: Size;
  channels: readonly [number, number];
  dtype: DType;
  inputs: Input[];
  /** What is there before the op runs, as the statistics of a fixed image: in a phase of its own, not timed. */
  prepare?(xs: Tensor[]): any;
  /** What is timed; returns what is wanted of it. */
  run(xs: Tensor[], prepared: any): Tensor[];
  reference?(xs: NdArray[]): NdArray[];
  /** Where arithmetic counts: 2 FLOP a multiply-add. */
  flop?: number;
  /** What is written and read again inside the op counts as well. */
  workspace?: boolean;
  /** In the place of the count by bindings, where a dispatch binds more than it touches. */
  bytes?: number;
  /** Runs until every repetition does the same work. */
  warmUps?: number;
}

export const PREPARE = 'prepare';
export const TIMED = 'timed';
/** Makes f32 of what f16 outputs there are, for reading. */
export const KEPT = 'kept';

export interface TracedRow {
  graph: Graph;
  inputs: Tensor[];
  outputs: Tensor[];
}

/** A row as a graph; its outputs can be read after `KEPT` has run. */
export function traceRow({ inputs: given, dtype, prepare, run }: Row): TracedRow {
  const graph = new Graph();
  const inputs = given.map(({ label, shape }) => graph.input(label, shape));
  const { xs, prepared } = graph.phase(PREPARE, () => {
    const xs = inputs.map((t, i) => (given[i].weights ? t : cast(t, dtype)));
    return { xs, prepared: prepare?.(xs) };
  });
  const made = graph.phase(TIMED, () => run(xs, prepared));
  const outputs = graph.phase(KEPT, () => made.map((t) => graph.output(cast(t, 'f32'))));
  return { graph, inputs, outputs };
}

export interface Description {
  plan: Plan;
  dispatches: Dispatch[];
  flop: number;
  bytes: number;
}

/** Plans a row for a processor, without a device, and counts its work. */
export function describe(row: Row, processor: Processor = 'cpu'): Description {
  const { graph } = traceRow(row);
  const planned = plan(graph, processor);
  const { dispatches } = planned.phases.find(({ name }) => name === TIMED)!;
  return { plan: planned, dispatches, flop: row.flop ?? 0, bytes: row.bytes ?? countBytes(planned, graph, row.workspace ?? false) };
}

/** What comes into the timed phase counts once, what it leaves once; what is made inside, with `workspace`, as often as passes move it. */
function countBytes({ phases }: Plan, graph: Graph, workspace: boolean): number {
  const dispatchesOf = (phase: string) => phases.find(({ name }) => name === phase)!.dispatches;
  const bound = (phase: string, written: boolean) => new Set(dispatchesOf(phase).flatMap((dispatch) => boundBy(dispatch, written)));
  const [reads, writes, before, after] = [bound(TIMED, false), bound(TIMED, true), bound(PREPARE, true), bound(KEPT, false)];
  const sum = (tensors: Iterable<Tensor>, counts: (t: Tensor) => boolean) =>
    [...tensors].filter(counts).reduce((bytes, t) => bytes + bytesOf(t), 0);
  const outside = (t: Tensor) => t.kind === 'input' || t.kind === 'variable' || before.has(t);
  const left = (t: Tensor) => t.kind === 'variable' || graph.outputs.has(t) || after.has(t);
  const read = sum(new Set([...reads, ...[...writes].filter((t) => t.kind === 'variable')]), outside);
  const once = read + sum(writes, left);
  if (!workspace) return once;
  const inside = (t: Tensor) => !outside(t) && !left(t);
  const made = new Set<Tensor>();
  return dispatchesOf(TIMED).reduce((bytes, dispatch) => {
    const written = boundBy(dispatch, true).filter(inside);
    const again = written.filter((t) => made.has(t)); // in place: read, too
    written.forEach((t) => made.add(t));
    return bytes + sum([...boundBy(dispatch, false), ...written, ...again], inside);
  }, once);
}

/** The tensors that a dispatch writes, or reads only. */
const boundBy = ({ kernel, bindings }: Dispatch, written: boolean): Tensor[] =>
  kernel.bindings.filter(({ access }) => access !== 'params' && (access === 'read_write') === written).map(({ name }) => bindings[name]);

/** The constants of a dispatch that matter, in words: "RUN 8 × 16 channels, WG 64". */
export function variant({ constants = {} }: Dispatch): string {
  const of = (name: string) => (constants[name] === undefined ? undefined : parseInt(String(constants[name])));
  const [run, vectors, tile, lanes, x, y] = ['RUN', 'VECTORS', 'TILE', 'LANES', 'WG_X', 'WG_Y'].map(of);
  const channels = vectors && `${4 * vectors} channels`;
  return [
    run && channels ? `RUN ${run} × ${channels}` : (channels ?? (run && `RUN ${run}`)),
    tile && `TILE ${tile} × 4 channels`,
    lanes && `LANES ${lanes}`,
    constants.WEIGHTS === 'staged' && 'STAGED',
    x && y && y > 1 ? `WG ${x} × ${y}` : `WG ${of('WG')}`,
  ]
    .filter(Boolean)
    .join(', ');
}
