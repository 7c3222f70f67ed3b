// The static graph: ops on symbolic tensors append nodes; nothing is computed here and no device is needed.
import type { Constants, Kernel, Params } from '../gpu/kernel.ts';
import type { Tag } from '../gpu/ledger.ts';

/** Sizes, outermost first; volumes are [N, C, D, H, W], a scalar is [1]. */
export type Shape = readonly number[];
/** How elements are stored; kernels compute in f32. f16 needs an adapter with shader-f16. */
export type DType = 'f32' | 'f16';

export const numel = (shape: Shape): number => shape.reduce((product, n) => product * n, 1);
export const bytesOf = ({ shape, dtype }: Pick<Tensor, 'shape' | 'dtype'>): number =>
  dtype === 'f32' ? 4 * numel(shape) : 4 * Math.ceil(numel(shape) / 2);
export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((n, i) => n === b[i]);
export const show = (shape: Shape): string => `[${shape.join(',')}]`;

/**
 * A symbolic tensor. `input`: uploaded by the CPU, read only; its memory is reused after the last phase that reads it, so it is uploaded
 * again before these phases run again. `variable`: may be updated; keeps its value from the first to the last phase that touches it, and
 * always if `persistent`. `result`: written once by the node that makes it. `workspace`: lives inside one node.
 */
export interface Tensor {
  readonly graph: Graph;
  readonly id: number;
  readonly label: string;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly tag: Tag;
  readonly kind: 'input' | 'variable' | 'result' | 'workspace';
  /** A persistent variable keeps its buffer through the whole schedule, also before and after the phases that touch it. */
  readonly persistent: boolean;
}

/**
 * One kernel launch: tensors by binding name, values by parameter name, workgroups along x, y, z. A binding that the constants switch off
 * needs a tensor all the same: give any input.
 */
export interface Dispatch {
  kernel: Kernel;
  constants?: Constants;
  bindings: Record<string, Tensor>;
  params?: Params;
  groups: readonly [number, number, number];
  /**
   * Inputs whose buffer the result may overwrite where nothing reads them afterwards; only where each invocation reads, of such an input,
   * no more than the element that it writes. The planner then compiles the kernel with IN_PLACE = 1 (the first of them) or 2 (the second):
   * it reads that input from the result's binding. A buffer cannot be bound for reading and writing at once, so the input's own binding
   * gets the tensor that is bound as `meanwhile`, and is not read. Launch rules give IN_PLACE = 0.
   */
  inPlace?: { result: string; of: readonly { name: string; meanwhile: string }[] };
  /** Variables whose buffers this dispatch reserves without writing them; later dispatches write before they read. */
  holds?: readonly Tensor[];
}

/** What computes: a GPU, or a driver that computes on the CPU. Tiles differ, results do not beyond rounding, memory not at all. */
export type Processor = 'gpu' | 'cpu';

/** What an op's launch rule sees. `workspace` reserves memory for the time of this node only. */
export interface Launch<A> {
  inputs: readonly Tensor[];
  updates: readonly Tensor[];
  outputs: readonly Tensor[];
  attrs: A;
  /** Which of the outputs something reads. The others are given memory, too, but may hold anything. */
  used: readonly boolean[];
  processor: Processor;
  workspace(label: string, shape: Shape, dtype?: DType): Tensor;
}

/** What an op's gradient rule sees: cotangents of the outputs that have one, and which inputs want theirs. */
export interface Pullback<A> {
  inputs: readonly Tensor[];
  outputs: readonly Tensor[];
  cotangents: readonly (Tensor | undefined)[];
  wanted: readonly boolean[];
  attrs: A;
}

/** An op family's rules, side by side: shape, launch, gradient. `vjp` is missing where there is no gradient. */
export interface Op<A = any> {
  name: string;
  /** The outputs' shapes; throws, with the shapes, on inputs that do not fit. */
  shape(inputs: readonly Shape[], attrs: A, updates: readonly Shape[]): Shape[];
  /** How the outputs are stored. Without this rule an op takes f32 only and makes f32. */
  dtype?(inputs: readonly DType[], attrs: A): DType;
  launch(node: Launch<A>): Dispatch[];
  vjp?(node: Pullback<A>): (Tensor | undefined)[];
  /** Of its updates, those whose former values do not matter: it writes all of them. */
  overwrites?(updates: readonly Tensor[]): readonly Tensor[];
  /** Its outputs count as constants: no gradient is passed on. */
  constant?: boolean;
  /** A pullback recomputes its outputs instead of keeping them, where keeping what they are computed from takes less memory. */
  recompute?: boolean;
}

export interface Node<A = any> {
  op: Op<A>;
  inputs: readonly Tensor[];
  updates: readonly Tensor[];
  outputs: readonly Tensor[];
  attrs: A;
  phase: number;
}

/** Values and the ops that make them, traced by calling ops inside `phase`: what `plan` counts and `Schedule` runs. It needs no device. */
export class Graph {
  readonly nodes: Node[] = [];
  readonly phases: string[] = [];
  readonly outputs = new Set<Tensor>();
  private current = -1;
  private made = 0;

  input(label: string, shape: Shape, tag: Tag = 'input'): Tensor {
    return this.tensor('input', label, shape, tag, 'f32');
  }

  /** `persistent`: for weights, an optimiser's moments and all that must survive phases that do not touch it. */
  variable(label: string, shape: Shape, tag: Tag = 'activation', { persistent = false } = {}): Tensor {
    return this.tensor('variable', label, shape, tag, 'f32', persistent);
  }

  /**
   * Everything traced inside `body` forms one phase: a program that is run as a whole, as often as wanted. A result
   * used by a later phase stays in memory until that phase has ended; all other results share memory.
   */
  phase<T>(name: string, body: () => T): T {
    if (this.current >= 0) throw new Error(`phase ${name}: phases do not nest (inside ${this.phases[this.current]})`);
    if (this.phases.includes(name)) throw new Error(`phase ${name} is traced twice`);
    this.current = this.phases.push(name) - 1;
    try {
      return body();
    } finally {
      this.current = -1;
    }
  }

  /** Marks a tensor that the CPU reads: it stays in memory from its phase to the schedule's end. */
  output(tensor: Tensor): Tensor {
    this.outputs.add(f32(tensor));
    return tensor;
  }

  /** Appends a node. `updates` are variables that the op reads and writes in place. */
  apply<A>(op: Op<A>, inputs: readonly Tensor[], attrs: A, updates: readonly Tensor[] = []): Tensor[] {
    if (this.current < 0) throw new Error(`${op.name}: trace ops inside graph.phase(name, () => …)`);
    for (const t of [...inputs, ...updates]) {
      if (t.graph !== this) throw new Error(`${op.name}: ${t.label} belongs to another graph`);
    }
    for (const t of updates) {
      if (t.kind !== 'variable') throw new Error(`${op.name}: only a variable can be updated, ${t.label} is a ${t.kind}`);
      if (inputs.includes(t)) throw new Error(`${op.name}: ${t.label} is read and updated by one op; WebGPU forbids it`);
    }
    const shapes = op.shape(
      inputs.map((t) => t.shape),
      attrs,
      updates.map((t) => t.shape),
    );
    const dtypes = inputs.map((t) => t.dtype);
    if (!op.dtype && dtypes.includes('f16')) throw new Error(`${op.name}: takes f32, got ${dtypes.join(', ')}; cast f16 to f32 first`);
    const dtype = op.dtype?.(dtypes, attrs) ?? 'f32';
    const outputs = shapes.map((shape) => this.tensor('result', op.name, shape, 'activation', dtype));
    this.nodes.push({ op, inputs, updates, outputs, attrs, phase: this.current });
    return outputs;
  }

  tensor(kind: Tensor['kind'], label: string, shape: Shape, tag: Tag, dtype: DType, persistent = false): Tensor {
    if (!shape.length || !shape.every((n) => Number.isInteger(n) && n > 0))
      throw new Error(`${label}: a shape needs whole sizes above 0, got ${show(shape)}`);
    return { graph: this, id: this.made++, label, shape: [...shape], dtype, tag, kind, persistent };
  }
}

/** Passes on what the CPU can read. */
export function f32(tensor: Tensor): Tensor {
  if (tensor.dtype !== 'f32') throw new Error(`${tensor.label} ${show(tensor.shape)} is ${tensor.dtype}; cast it to f32 to read it`);
  return tensor;
}

/** The dtype rule of ops whose inputs and outputs share one. */
export function oneDtype(dtypes: readonly DType[]): DType {
  if (dtypes.some((dtype) => dtype !== dtypes[0])) throw new Error(`inputs must share a dtype, got ${dtypes.join(', ')}; cast them`);
  return dtypes[0];
}

/** Traces an op with one output. */
export function trace<A>(op: Op<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  if (!inputs.length) throw new Error(`${op.name}: needs at least one tensor`);
  return inputs[0].graph.apply(op, inputs, attrs)[0];
}
