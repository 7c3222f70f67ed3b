// A schedule: a plan with its buffers, bind groups and pipelines on a device. Made once, its phases replayed many times.
import { type Gpu, mebibytes, type Pipeline, usage } from '../gpu/device.ts';
import { type Access, packParams } from '../gpu/kernel.ts';
import { Ledger, type Tag } from '../gpu/ledger.ts';
import { timePasses } from '../gpu/timestamps.ts';
import { bytesOf, type Dispatch, f32, type Graph, numel, type Processor, show, type Tensor } from './graph.ts';
import { checkLimits, paramBytesOf, plan, processorOf, READBACK_BYTES, READBACKS, type Plan, type Slot } from './plan.ts';

interface Command {
  pipeline: GPUComputePipeline;
  group: GPUBindGroup;
  groups: readonly [number, number, number];
  label: string;
  /** Of the tensors that it binds. */
  bytes: number;
}

/** A phase ready to run: what it reads that must be there before, and whose values it leaves in the buffers it writes. */
interface Phase {
  commands: Command[];
  /** The same in submits. */
  submits: Command[][];
  reads: Set<Tensor>;
  leaves: Map<Slot, Tensor>;
}

export interface Timing {
  label: string;
  ms: number;
}

/**
 * Of one submit, and of all that its dispatches bind, counted as f32: drivers take one that lasts for seconds for a hang, and reset the
 * GPU. Convolutions of 3³ taps and 16 channels that bind so many bytes are 4·10¹¹ operations together, a second at 500 GFLOP/s. A single
 * dispatch is never cut.
 */
const MOST_DISPATCHES = 64;
const MOST_BYTES = 2 ** 32;

/**
 * A graph on a device: its buffers, pipelines and launches, all made by `build`, none while phases run. `upload`, `run` and `read` are
 * called in the order of the work; `destroy` frees the buffers, which `Gpu.close` does too, of a device of its own.
 */
export class Schedule {
  /** What its buffers take on the device, all of them from `build` to `destroy`. */
  readonly ledger = new Ledger();
  private readonly phases = new Map<string, Phase>();
  private readonly buffers = new Map<Slot, GPUBuffer>();
  /** Whose value each buffer holds: a slot serves many tensors, and phases may be run in any order. */
  private held = new Map<Slot, Tensor>();
  private readonly owned: [GPUBuffer, Tag][] = [];
  private readonly readbacks: GPUBuffer[] = [];
  private readonly staging: GPUBuffer | undefined;
  private reading = false;
  private destroyed = false;
  /** What the device found wrong with what this schedule has asked of it so far. */
  private failure: Promise<Error | undefined> = Promise.resolve(undefined);

  private constructor(
    readonly gpu: Gpu,
    readonly graph: Graph,
    readonly plan: Plan,
  ) {
    for (const slot of plan.slots) {
      const buffer = this.own(slot.label, slot.bytes, usage.storage | usage.uniform | usage.copySrc | usage.copyDst, slot.tag);
      this.buffers.set(slot, buffer);
    }
    for (let i = 0; i < READBACKS; i++) this.readbacks.push(this.own('readback', READBACK_BYTES, usage.mapRead | usage.copyDst, 'staging'));
    if (plan.stagingBytes) this.staging = this.own('staging', plan.stagingBytes, usage.mapRead | usage.copyDst, 'staging');
  }

  /**
   * Plans the graph, checks the adapter's limits, compiles all pipelines in parallel, makes buffers and bind groups. `processor`: what work
   * is tiled for; by default what the adapter computes on.
   */
  static async build(gpu: Gpu, graph: Graph, processor?: Processor): Promise<Schedule> {
    if (typeof gpu?.check !== 'function')
      throw new Error('gpu is no opened Gpu; give what `await openGpu()` or `await Gpu.open(…)` returns');
    gpu.check();
    const planned = plan(graph, processor ?? processorOf(gpu.info));
    checkLimits(planned, gpu.limits, gpu.info.description);
    const dispatches = planned.phases.flatMap((phase) => phase.dispatches);
    const half = dispatches.find(({ constants }) => constants?.real === 'f16');
    if (half && !gpu.device.features.has('shader-f16'))
      throw new Error(`${half.kernel.name} stores f16, but ${gpu.info.description} has no shader-f16; use f32, or another adapter`);
    const pipelines = await Promise.all(dispatches.map((d) => gpu.pipeline(d.kernel, d.constants)));
    const { result: schedule, failure } = gpu.scoped(() => {
      const schedule = new Schedule(gpu, graph, planned);
      schedule.bind(pipelines);
      return schedule;
    });
    const failed = await failure;
    if (failed) {
      schedule.destroy();
      throw new Error(
        `a schedule's ${mebibytes(planned.peak.total)} on ${gpu.info.description}: ${failed.message}; use a smaller volume or coarser levels`,
      );
    }
    return schedule;
  }

  private bind(pipelines: Pipeline[]): void {
    const { device } = this.gpu;
    const params = this.own('params', this.plan.paramBytes, usage.uniform | usage.copyDst, 'workspace');
    const bytes = new Uint8Array(this.plan.paramBytes);
    let at = 0,
      filled = 0;
    for (const { name, dispatches, changes } of this.plan.phases) {
      const commands = dispatches.map((d): Command => {
        const { pipeline, layout } = pipelines[at++];
        const packed = new Uint8Array(packParams(d.kernel, d.params ?? {}));
        const offset = filled;
        bytes.set(packed, offset);
        filled += paramBytesOf(d);
        const entries = d.kernel.bindings.map((b): GPUBindGroupEntry => {
          if (b.access === 'params') return { binding: b.index, resource: { buffer: params, offset, size: packed.length } };
          const tensor = d.bindings[b.name];
          return { binding: b.index, resource: { buffer: this.buffers.get(this.slotOf(tensor))!, size: bytesOf(tensor) } };
        });
        return {
          pipeline,
          groups: d.groups,
          label: d.kernel.name,
          bytes: [...new Set(Object.values(d.bindings))].reduce((sum, tensor) => sum + 4 * numel(tensor.shape), 0),
          group: device.createBindGroup({ label: d.kernel.name, layout, entries }),
        };
      });
      this.phases.set(name, { commands, submits: inSubmits(commands), ...this.traffic(dispatches, changes) });
    }
    device.queue.writeBuffer(params, 0, bytes);
  }

  private traffic(dispatches: readonly Dispatch[], changes: ReadonlySet<Tensor>): Pick<Phase, 'reads' | 'leaves'> {
    const reads = new Set<Tensor>(changes),
      leaves = new Map<Slot, Tensor>();
    for (const { kernel, bindings } of dispatches) {
      const bound = (...access: Access[]) => kernel.bindings.filter((b) => access.includes(b.access)).map((b) => bindings[b.name]);
      for (const t of bound('read', 'uniform')) if (leaves.get(this.slotOf(t)) !== t) reads.add(t);
      for (const t of bound('read_write')) leaves.set(this.slotOf(t), t);
    }
    for (const { holds = [] } of dispatches) holds.forEach((t) => leaves.set(this.slotOf(t), t));
    return { reads, leaves };
  }

  /** Fills an input or a variable, from the CPU or from the beginning of another buffer of this device (with usage COPY_SRC). */
  upload(tensor: Tensor, source: Float32Array | GPUBuffer): void {
    this.check('upload');
    const { label, shape, kind } = tensor;
    const refuse = (why: string) => new Error(`upload ${label} ${show(shape)}: ${why}`);
    if (tensor.graph !== this.graph) throw refuse('it belongs to another graph than this schedule');
    if (kind !== 'input' && kind !== 'variable') throw refuse(`only inputs and variables are uploaded, it is a ${kind}`);
    const values = source instanceof Float32Array;
    if (!values && typeof source?.usage !== 'number')
      throw refuse(`takes a Float32Array or a GPUBuffer, got ${source === null ? source : (Object(source) as object).constructor.name}`);
    const given = values ? source.length : source.size / 4;
    if (values ? given !== numel(shape) : given < numel(shape)) throw refuse(`got ${given} values`);
    if (!values && !(source.usage & usage.copySrc)) throw refuse(`the buffer ${source.label} lacks usage COPY_SRC`);
    if (!this.plan.slotOf.has(tensor)) return; // nothing reads it
    const { device } = this.gpu;
    const slot = this.slotOf(tensor),
      buffer = this.buffers.get(slot)!;
    this.recordErrors(`upload ${label}`, () => {
      // Dawn's binding for Node ends the process over shared memory.
      if (values)
        return device.queue.writeBuffer(
          buffer,
          0,
          source.buffer instanceof ArrayBuffer ? (source as Float32Array<ArrayBuffer>) : source.slice(),
        );
      const encoder = device.createCommandEncoder({ label: `upload ${label}` });
      encoder.copyBufferToBuffer(source, 0, buffer, 0, bytesOf(tensor));
      device.queue.submit([encoder.finish()]);
    });
    this.held.set(slot, tensor);
  }

  /**
   * The buffer that holds a tensor's value now, from its beginning, for work of your own on this device: usage STORAGE, COPY_SRC and
   * COPY_DST. It is the schedule's: what is not an output (or persistent) may be overwritten by a later phase, and all are gone with
   * `destroy`.
   */
  buffer(tensor: Tensor): GPUBuffer {
    this.check('buffer');
    return this.bufferOf(tensor, 'buffer');
  }

  /**
   * Runs a phase: a compute pass and a submit for every 64 dispatches, or fewer that bind 4 GiB. Does not wait. Refuses to run on values
   * that are not there: not yet written, or overwritten because a later phase (in the order of tracing) has run since.
   */
  run(phase: string): void {
    this.check(`phase ${phase}`);
    this.recordErrors(`phase ${phase}`, () => this.submit(phase));
  }

  /**
   * Runs a phase and reads small tensors (≤ 256 bytes together) as they stand right after. The promise may be awaited
   * later, while further phases run; at most 8 may be under way.
   */
  async runAndRead(phase: string, tensors: readonly Tensor[]): Promise<Float32Array[]> {
    this.check('runAndRead');
    let end = 0;
    const ends = tensors.map((t) => (end += bytesOf(f32(t))));
    const bytes = end;
    if (bytes > READBACK_BYTES)
      throw new Error(
        `runAndRead: ${tensors.map((t) => t.label).join(', ')} have ${bytes} bytes together, at most ${READBACK_BYTES}; mark large ones as outputs and read them`,
      );
    const readback = this.readbacks.pop();
    if (!readback) throw new Error(`runAndRead: ${READBACKS} reads are under way already; await one first`);
    try {
      this.recordErrors(`phase ${phase}`, () => {
        this.submit(phase, tensors, (encoder, buffers) =>
          tensors.forEach((t, i) => encoder.copyBufferToBuffer(buffers[i], 0, readback, ends[i] - bytesOf(t), bytesOf(t))),
        );
      });
      const data = await this.gpu.mapped(readback, bytes, (window) => new Float32Array(window.slice().buffer));
      await this.throwRecorded();
      return tensors.map((t, i) => data.slice((ends[i] - bytesOf(t)) / 4, ends[i] / 4));
    } finally {
      this.readbacks.push(readback);
    }
  }

  /**
   * Waits for the work submitted so far and reads a tensor marked as output (or a variable or input that is live). Large ones come in
   * pieces, so nothing else may be asked of the schedule until the promise settles. They go to `result`, where it is given.
   */
  async read(tensor: Tensor, result = new Float32Array(numel(tensor.shape))): Promise<Float32Array> {
    this.check(`read ${tensor.label}`);
    if (!this.staging) throw new Error(`read ${tensor.label}: the graph marks no output`);
    if (result.length !== numel(tensor.shape))
      throw new Error(`read ${tensor.label} ${show(tensor.shape)}: into an array of ${result.length} values`);
    this.reading = true;
    try {
      const bytes = new Uint8Array(result.buffer, result.byteOffset, result.byteLength);
      await this.gpu.read(this.bufferOf(f32(tensor), 'read'), bytes, this.staging).catch((error: unknown) => {
        throw this.destroyed ? new Error(`read ${tensor.label}: this schedule was destroyed meanwhile`) : error;
      });
      await this.throwRecorded();
      return result;
    } finally {
      this.reading = false;
    }
  }

  /**
   * GPU time of every dispatch of a phase, from timestamps; each dispatch in a pass of its own. For benches. The phase runs `repeats` times
   * in one submit, so that a GPU need not wait for the CPU and keeps its clock; the shortest time of each dispatch counts. Inputs need not
   * be there.
   */
  async profile(phase: string, repeats = 1): Promise<Timing[]> {
    this.check('profile');
    this.gpu.check();
    const { commands, leaves } = this.phaseOf(phase);
    leaves.forEach((tensor, slot) => this.held.set(slot, tensor));
    const once = commands.map((c) => (pass: GPUComputePassEncoder) => dispatch(pass, c));
    const ms = await timePasses(this.gpu, Array.from({ length: repeats }, () => once).flat());
    return commands.map(({ label }, i) => ({ label, ms: Math.min(...ms.filter((_, j) => j % commands.length === i)) }));
  }

  /** Frees all buffers; the schedule can do nothing more. */
  destroy(): void {
    this.destroyed = true;
    for (const [buffer, tag] of this.owned) this.gpu.release(buffer, tag);
    this.owned.length = 0;
  }

  /**
   * A phase whose values are there, and the buffers of what is `wanted` of it; from here on the slots hold what it leaves. Throws, with all
   * as before.
   */
  private begun(phase: string, wanted: readonly Tensor[] = []) {
    this.gpu.check();
    const { submits, reads, leaves } = this.phaseOf(phase);
    reads.forEach((tensor) => this.bufferOf(tensor, `phase ${phase}`));
    const before = this.held;
    this.held = new Map([...before, ...leaves]);
    try {
      return { submits, buffers: wanted.map((tensor) => this.bufferOf(tensor, 'runAndRead')) };
    } catch (error) {
      this.held = before;
      throw error;
    }
  }

  private submit(
    phase: string,
    wanted: readonly Tensor[] = [],
    atEnd?: (encoder: GPUCommandEncoder, buffers: readonly GPUBuffer[]) => void,
  ): void {
    const { submits, buffers } = this.begun(phase, wanted);
    for (const [i, commands] of submits.entries()) {
      const encoder = this.gpu.device.createCommandEncoder({ label: phase });
      const pass = encoder.beginComputePass({ label: phase });
      for (const command of commands) dispatch(pass, command);
      pass.end();
      if (i === submits.length - 1) atEnd?.(encoder, buffers);
      this.gpu.device.queue.submit([encoder.finish()]);
    }
  }

  /** Calls the device for `what`; the next read throws its errors. */
  private recordErrors(what: string, calls: () => void): void {
    const { failure } = this.gpu.scoped(calls);
    this.failure = Promise.all([this.failure, failure]).then(([before, now]) => before ?? (now && new Error(`${what}: ${now.message}`)));
  }

  /** Throws the first error of all that was asked so far: what is read after it cannot be trusted, then or later. */
  private async throwRecorded(): Promise<void> {
    const failed = await this.failure;
    if (failed) throw failed;
  }

  private check(what: string): void {
    if (this.destroyed) throw new Error('this schedule is destroyed; build another');
    if (this.reading) throw new Error(`${what}: a read is under way; await it first`);
  }

  private phaseOf(name: string): Phase {
    const phase = this.phases.get(name);
    if (!phase) throw new Error(`no phase ${name}; there are ${[...this.phases.keys()].join(', ')}`);
    return phase;
  }

  private slotOf(tensor: Tensor): Slot {
    const slot = this.plan.slotOf.get(tensor);
    if (!slot) throw new Error(`${tensor.label} is not part of this schedule`);
    return slot;
  }

  /** The buffer that holds a tensor's value; throws, naming the reader, when it holds another's. */
  private bufferOf(tensor: Tensor, reader: string): GPUBuffer {
    const slot = this.slotOf(tensor),
      held = this.held.get(slot);
    if (held !== tensor) {
      throw new Error(
        `${reader} reads ${tensor.label} ${show(tensor.shape)}, which ${held ? `${held.label} ${show(held.shape)} has overwritten` : 'nothing has written yet'}; ` +
          'upload inputs and run phases in the order in which they were traced',
      );
    }
    return this.buffers.get(slot)!;
  }

  private own(label: string, bytes: number, flags: number, tag: Tag): GPUBuffer {
    const buffer = this.gpu.buffer(label, bytes, flags, tag);
    this.owned.push([buffer, tag]);
    this.ledger.add(tag, buffer.size);
    return buffer;
  }
}

/** Commands cut to what one submit may hold; a submit of none for a phase that has none, as it may still copy what is read. */
export function inSubmits<C extends { bytes: number }>(commands: readonly C[]): C[][] {
  const parts: C[][] = [[]];
  let bytes = 0;
  for (const command of commands) {
    const last = parts.at(-1)!;
    if (last.length && (last.length === MOST_DISPATCHES || bytes + command.bytes > MOST_BYTES)) {
      parts.push([command]);
      bytes = command.bytes;
    } else {
      last.push(command);
      bytes += command.bytes;
    }
  }
  return parts;
}

/** Runs a graph of one phase once, from its inputs to one of its outputs. For what is computed over and over, keep a schedule. */
export async function runOnce(
  gpu: Gpu,
  graph: Graph,
  inputs: readonly (readonly [Tensor, Float32Array])[],
  output: Tensor,
): Promise<Float32Array> {
  if (graph.phases.length !== 1) throw new Error(`runOnce: takes a graph of one phase, got ${graph.phases.join(', ')}; build a Schedule`);
  const schedule = await Schedule.build(gpu, graph);
  try {
    for (const [tensor, data] of inputs) schedule.upload(tensor, data);
    schedule.run(graph.phases[0]);
    return await schedule.read(output);
  } finally {
    schedule.destroy();
  }
}

function dispatch(pass: GPUComputePassEncoder, { pipeline, group, groups }: Command): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(...groups);
}
