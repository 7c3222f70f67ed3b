// GPU time from timestamp queries. Dawn quantises them to 65 µs unless its toggle `timestamp_quantization` is disabled.
import { type Gpu, usage } from './device.ts';

/** Passes that can be timed at once: a query set holds 4096 timestamps. */
export const MOST_PASSES = 2048;

/** Runs each body in a compute pass of its own and returns the milliseconds each pass took on the device. */
export async function timePasses(gpu: Gpu, bodies: ((pass: GPUComputePassEncoder) => void)[]): Promise<number[]> {
  const { device } = gpu;
  if (!device.features.has('timestamp-query'))
    throw new Error(`${gpu.info.description} offers no timestamp-query; time on the CPU instead`);
  if (bodies.length > MOST_PASSES)
    throw new Error(`${bodies.length} passes cannot be timed at once, at most ${MOST_PASSES}; repeat less often`);
  const count = 2 * bodies.length;
  const querySet = device.createQuerySet({ type: 'timestamp', count });
  const resolved = gpu.buffer('timestamps', 8 * count, usage.queryResolve | usage.copySrc, 'staging');
  const staging = gpu.buffer('timestamps', 8 * count, usage.mapRead | usage.copyDst, 'staging');
  try {
    const { failure } = gpu.scoped(() => {
      const encoder = device.createCommandEncoder({ label: 'timed' });
      bodies.forEach((body, i) => {
        const pass = encoder.beginComputePass({
          timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
        });
        body(pass);
        pass.end();
      });
      encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
      device.queue.submit([encoder.finish()]);
    });
    const failed = await failure;
    if (failed) throw failed;
    const ns = new BigUint64Array(count);
    await gpu.read(resolved, new Uint8Array(ns.buffer), staging);
    return bodies.map((_, i) => Number(ns[2 * i + 1] - ns[2 * i]) / 1e6);
  } finally {
    querySet.destroy();
    gpu.release(resolved, 'staging');
    gpu.release(staging, 'staging');
  }
}
