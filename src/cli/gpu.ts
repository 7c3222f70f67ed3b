// The GPU of a command. A process that ends while it computes crashes with some drivers, so an interrupted command closes it first.
import type { Gpu } from '../gpu/device.ts';
import * as node from '../node.ts';

const opened: Gpu[] = [];

export async function openGpu(): Promise<Gpu> {
  const gpu = await node.openGpu();
  opened.push(gpu);
  return gpu;
}

/** Ends all GPU work, after what was submitted already; for a process that is about to end. */
export function closeGpus(): void {
  for (const gpu of opened) gpu.close();
}
