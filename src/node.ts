// The library on Node: everything of index.ts, plus adapters through Dawn (npm `webgpu`) and volumes from files.
import { create } from 'webgpu';
import { type AdapterInfo, describe, Gpu, isSoftware, type Waiting } from './gpu/device.ts';
import { readBytes } from './io/files.ts';
import type { Model } from './models/cells.ts';
import { type ModelCard, parseModel } from './register/model.ts';

export * from './index.ts';
export * from './io/files.ts';

/** Dawn's own switch: timestamps in full resolution. */
const toggles = ['disable-dawn-features=timestamp_quantization'];

/** Kept here, not on globalThis: Dawn lives as long as something holds it. */
let instance: GPU | undefined;

async function requestAdapter(powerPreference?: GPUPowerPreference): Promise<GPUAdapter | null> {
  instance ??= create(toggles);
  return instance.requestAdapter(powerPreference ? { powerPreference } : {});
}

/** Longest pause, in ms, and its part of the time waited so far. */
const PAUSE = { most: 1, part: 0.1 };

/**
 * For drivers that compute on the CPU: Dawn's binding asks in every turn of the event loop, without end, whether the work is done, and so
 * takes a core from the work. Here turns pause while something is awaited, for a tenth of the time waited so far.
 */
function patient(): Waiting {
  const never = new Int32Array(new SharedArrayBuffer(4));
  let awaited = 0,
    since = 0,
    pausing = false;
  const pause = () => {
    pausing = awaited > 0;
    if (!pausing) return;
    Atomics.wait(never, 0, 0, Math.min(PAUSE.most, PAUSE.part * (performance.now() - since)));
    setImmediate(pause).unref();
  };
  return async (work) => {
    awaited++;
    since = performance.now();
    if (!pausing) {
      pausing = true;
      setImmediate(pause).unref();
    }
    try {
      return await work;
    } finally {
      awaited--;
      since = performance.now();
    }
  };
}

/** Opens the machine's best adapter through Dawn; a software driver counts. Throws with the remedy when there is none. */
export async function openGpu(): Promise<Gpu> {
  const adapter = await requestAdapter('high-performance');
  if (!adapter)
    throw new Error(
      'no WebGPU adapter: Dawn needs a Vulkan driver (on Linux a GPU driver, or Mesa ≥ 23.2 for its software driver); run "deqreg setup"',
    );
  return Gpu.open(isSoftware(adapter.info) ? { adapter, waiting: patient() } : { adapter });
}

export interface FoundAdapter {
  info: AdapterInfo;
  features: string[];
  limits: Record<string, number>;
  chosen: boolean;
}

/** The adapters that Dawn offers for either power preference, the one that `openGpu` takes marked. */
export async function listAdapters(): Promise<FoundAdapter[]> {
  const found: FoundAdapter[] = [];
  for (const preference of ['high-performance', 'low-power'] as const) {
    const adapter = await requestAdapter(preference);
    if (!adapter) continue;
    const limits: Record<string, number> = {};
    for (const name in adapter.limits) limits[name] = adapter.limits[name as keyof GPUSupportedLimits] as number;
    const features = [...adapter.features].sort();
    const info = describe(adapter.info);
    if (!found.some((other) => other.info.description === info.description))
      found.push({ info, features, limits, chosen: found.length === 0 });
  }
  return found;
}

/** A trained model from its .safetensors file. */
export const readModel = async (path: string): Promise<{ model: Model; card: ModelCard }> => parseModel(path, await readBytes(path));
