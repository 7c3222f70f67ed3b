// The device: limits, buffers with their ledger, pipelines, readback, and whose errors are whose.
import { Ledger, type Tag } from './ledger.ts';
import { placeOf, specialise, type Constants, type Kernel } from './kernel.ts';

export interface AdapterInfo {
  vendor: string;
  architecture: string;
  device: string;
  /** As the driver names itself, e.g. "llvmpipe: Mesa 25.0.7 (LLVM 15.0.6)". */
  description: string;
  /** True for a driver that computes on the CPU. */
  software: boolean;
}

export interface Pipeline {
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
}

/** Usage flags by value, because not every host puts GPUBufferUsage on the global object. */
export const usage = { mapRead: 1, copySrc: 4, copyDst: 8, uniform: 64, storage: 128, queryResolve: 512 } as const;

const wantedFeatures = ['timestamp-query', 'shader-f16'] as const;

/** Reads a large buffer back through a window of this many bytes at most. */
export const STAGING_BYTES = 16 * 2 ** 20;

/** What can be wrong with calls. Out of memory is reported before the validation errors that it causes. */
const ERROR_KINDS = ['out-of-memory', 'validation', 'internal'] as const;

/** How the host waits for the device: returns what `work` does. */
export type Waiting = <T>(work: Promise<T>) => Promise<T>;

interface Opened {
  /** What `requestAdapter` has found. */
  adapter?: GPUAdapter | null;
  device?: GPUDevice;
  waiting?: Waiting;
}

/**
 * One WebGPU device with everything the engine keeps beside it. Made by `Gpu.open`, ended by `close`. A device of the caller's own lives
 * on, and its error scopes and uncaptured errors are the caller's: the engine catches those of its own calls, and no others.
 */
export class Gpu {
  readonly ledger = new Ledger();
  private readonly pipelines = new Map<string, Promise<Pipeline>>();
  private lost: Error | undefined;
  private closed = false;

  private constructor(
    readonly device: GPUDevice,
    readonly info: AdapterInfo,
    private readonly owned: boolean,
    private readonly waiting: Waiting,
  ) {
    void device.lost.then((lost) => {
      if (!this.closed)
        this.lost = new Error(`the GPU device was lost: ${lost.message || lost.reason}; run again, or choose another adapter`);
    });
  }

  /**
   * Opens a device whose buffers may be as large as the adapter can, all other limits being WebGPU's defaults, which kernels keep to; or
   * wraps a device that the caller made (its limits then hold).
   */
  static async open({ adapter, device, waiting = (work) => work }: Opened = {}): Promise<Gpu> {
    if (device) return new Gpu(device, describe(device.adapterInfo), false, waiting);
    if (!adapter)
      throw new Error('Gpu.open: no adapter: requestAdapter() found none; check the browser and its graphics driver, or give { device }');
    const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    const requiredFeatures = wantedFeatures.filter((name) => adapter.features.has(name));
    const made = await adapter.requestDevice({
      label: 'deqreg',
      requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
      requiredFeatures,
    });
    return new Gpu(made, describe(adapter.info), true, waiting);
  }

  get limits(): GPUSupportedLimits {
    return this.device.limits;
  }

  /** Creates a buffer and counts it. Refuses, with need and limit, what the adapter cannot hold. */
  buffer(label: string, bytes: number, flags: number, tag: Tag): GPUBuffer {
    const size = Math.ceil(bytes / 4) * 4;
    if (size > this.limits.maxBufferSize) {
      throw new Error(
        `${label} needs ${mebibytes(size)}, but a buffer of ${this.info.description} holds ${mebibytes(this.limits.maxBufferSize)}; use a smaller volume or coarser levels`,
      );
    }
    const buffer = this.device.createBuffer({ label, size, usage: flags });
    this.ledger.add(tag, size);
    return buffer;
  }

  /** Destroys a buffer that `buffer` made, and takes it off the ledger. */
  release(buffer: GPUBuffer, tag: Tag): void {
    this.ledger.remove(tag, buffer.size);
    buffer.destroy();
  }

  /** Compiles a kernel for one set of constants, once; explicit layout from the kernel's own bindings. */
  pipeline(kernel: Kernel, constants: Constants = {}): Promise<Pipeline> {
    const key = [kernel.name, JSON.stringify(constants), kernel.source].join('\n');
    let made = this.pipelines.get(key);
    if (made) return made;
    made = this.compile(kernel, constants);
    this.pipelines.set(key, made);
    made.catch(() => this.pipelines.delete(key)); // what failed may be tried again
    return made;
  }

  private async compile(kernel: Kernel, constants: Constants): Promise<Pipeline> {
    const label = kernel.name;
    const code = specialise(kernel, constants);
    const { result: module } = this.scoped(() => this.device.createShaderModule({ label, code })); // reported below, with file and line
    const problems = (await module.getCompilationInfo()).messages.filter((m) => m.type === 'error');
    if (problems.length) {
      throw new Error(problems.map((m) => `${placeOf(kernel, constants, m.lineNum)}:${m.linePos} ${oneLine(m.message)}`).join('\n'));
    }
    const storage = kernel.bindings.filter((b) => b.access.startsWith('read')).length;
    if (storage > this.limits.maxStorageBuffersPerShaderStage) {
      throw new Error(
        `kernels/${label}.wgsl binds ${storage} buffers; ${this.info.description} allows ${this.limits.maxStorageBuffersPerShaderStage}`,
      );
    }
    const { result: made } = this.scoped(() => {
      const layout = this.device.createBindGroupLayout({
        label,
        entries: kernel.bindings.map(({ index, access }) => ({
          binding: index,
          visibility: 4 /* compute */,
          buffer: { type: access === 'read' ? 'read-only-storage' : access === 'read_write' ? 'storage' : 'uniform' },
        })),
      });
      const descriptor = {
        label,
        layout: this.device.createPipelineLayout({ label, bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: 'main' },
      };
      return { layout, pipeline: this.device.createComputePipelineAsync(descriptor) };
    });
    const pipeline = await this.waiting(
      made.pipeline.catch((error: Error) => {
        // valid WGSL that the driver does not compile
        throw new Error(`kernels/${label}.wgsl (${JSON.stringify(constants)}) on ${this.info.description}: ${oneLine(error.message)}`);
      }),
    );
    return { pipeline, layout: made.layout };
  }

  /** Fills `result` from the beginning of a buffer, in windows of the given staging buffer. */
  async read(source: GPUBuffer, result: Uint8Array, staging: GPUBuffer): Promise<void> {
    for (let offset = 0; offset < result.length; offset += staging.size) {
      const size = Math.min(staging.size, result.length - offset);
      const { failure } = this.scoped(() => {
        const encoder = this.device.createCommandEncoder({ label: `read ${source.label}` });
        encoder.copyBufferToBuffer(source, offset, staging, 0, size);
        this.device.queue.submit([encoder.finish()]);
      });
      await this.mapped(staging, size, (window) => result.set(window, offset));
      const failed = await failure;
      if (failed) throw failed;
    }
  }

  /** Waits until a staging buffer can be read, and gives its bytes to `use` for as long as that takes. */
  async mapped<T>(staging: GPUBuffer, size: number, use: (bytes: Uint8Array) => T): Promise<T> {
    this.check();
    try {
      await this.waiting(staging.mapAsync(1 /* read */, 0, size));
    } catch (error) {
      // a lost device's own word may come a little after
      await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, 100))]);
      this.check();
      throw error;
    }
    try {
      this.check();
      return use(new Uint8Array(staging.getMappedRange(0, size)));
    } finally {
      staging.unmap();
    }
  }

  /**
   * Makes `calls` and returns what the device finds wrong with these, and only these. They must not wait for anything: error scopes are the
   * whole device's.
   */
  scoped<T>(calls: () => T): { result: T; failure: Promise<Error | undefined> } {
    const popped = async () => {
      const errors = await Promise.all(ERROR_KINDS.map(() => this.device.popErrorScope()));
      const found = errors.findIndex(Boolean);
      return found < 0 ? undefined : new Error(`WebGPU, ${ERROR_KINDS[found]}: ${oneLine(errors[found]!.message)}`);
    };
    const lost = () => undefined; // reported where one waits for the device
    for (const kind of [...ERROR_KINDS].reverse()) this.device.pushErrorScope(kind);
    try {
      return { result: calls(), failure: popped().catch(lost) };
    } catch (error) {
      void popped().catch(lost);
      throw error;
    }
  }

  /** Throws where the device is closed or lost. */
  check(): void {
    if (this.closed) throw new Error('the GPU device is closed');
    if (this.lost) throw this.lost;
  }

  /** Waits for all submitted work. */
  async idle(): Promise<void> {
    await this.waiting(this.device.queue.onSubmittedWorkDone());
    this.check();
  }

  /** Ends all use: of a device that was opened here, everything goes with it, the buffers of schedules too; a caller's own stays. */
  close(): void {
    this.closed = true;
    if (this.owned) this.device.destroy();
  }
}

/** Whether a driver computes on the CPU. */
export const isSoftware = ({ architecture, device, description, isFallbackAdapter }: Partial<GPUAdapterInfo>): boolean =>
  !!isFallbackAdapter ||
  ['software', 'swiftshader', 'warp'].includes(architecture ?? '') ||
  /llvmpipe|swiftshader|lavapipe|softpipe|basic render/i.test(`${device} ${description}`);

/** What an adapter is called where results are kept: the driver that computes, or the GPU and its driver. */
export const adapterName = ({ software, device, description }: AdapterInfo): string =>
  software ? `${description} (software)` : [...new Set([device, description])].filter(Boolean).join(', ');

/** `info` may be missing or lack entries: hosts are free to give little, and older ones give nothing. */
export function describe(info: Partial<GPUAdapterInfo> = {}): AdapterInfo {
  const { vendor = '', architecture = '', device = '', description = '' } = info;
  const named = description || device || [vendor, architecture].filter(Boolean).join(' ') || 'unknown adapter';
  return { vendor, architecture, device, description: named, software: isSoftware(info) };
}

const oneLine = (message: string): string => message.trim().replace(/\s*\n\s*/g, ' ');

export const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 24 ? 2 : 0)} MiB`;
