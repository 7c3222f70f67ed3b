// One device for all tests, and a way to run a traced function on it.
import { Graph, plan, type Processor, Schedule, type Tensor, vjp } from '../src/index.ts';
import type { Gpu } from '../src/index.ts';
import { openGpu } from '../src/node.ts';
import type { NdArray } from './reference/ndarray.ts';

let shared: Promise<Gpu> | undefined;
export const gpu = (): Promise<Gpu> => (shared ??= openGpu());

export const f32 = (x: NdArray): Float32Array => Float32Array.from(x.data);

type Traced = (xs: Tensor[]) => Tensor;

/** The graph of y = f(inputs) and, with a cotangent, of the VJP for the inputs in `wanted`, in one phase. */
function traced(f: Traced, inputs: NdArray[], cotangent?: NdArray, wanted = inputs.map(() => true)) {
  const graph = new Graph();
  const xs = inputs.map((x, i) => graph.input(`x${i}`, x.shape));
  const dy = cotangent && graph.input('dy', cotangent.shape);
  const { y, grads } = graph.phase('all', () => {
    const y = graph.output(f(xs));
    const asked = xs.filter((_, i) => wanted[i]);
    const found = dy && asked.length ? vjp([y], [dy], asked) : [];
    found.forEach((g) => graph.output(g));
    return { y, grads: xs.map((_, i) => (dy && wanted[i] ? found[asked.indexOf(xs[i])] : null)) };
  });
  return { graph, xs, dy, y, grads };
}

/** The processors that a program is to be tried for: both where their launches differ, else the first. */
export function processorsOf(...program: Parameters<typeof traced>): Processor[] {
  const launches = (processor: Processor) =>
    JSON.stringify(
      plan(traced(...program).graph, processor).phases.map(({ dispatches }) =>
        dispatches.map(({ kernel, constants, groups, params }) => [kernel.name, constants, groups, params]),
      ),
    );
  return launches('cpu') === launches('gpu') ? ['cpu'] : ['cpu', 'gpu'];
}

/**
 * Runs `traced` once, as planned for a processor (default: the adapter's), on a device (default: that of all tests). Also checks what holds
 * for every program: the plan's bytes equal the ledger's, by tag.
 */
export async function evaluate(
  f: Traced,
  inputs: NdArray[],
  cotangent?: NdArray,
  wanted = inputs.map(() => true),
  processor?: Processor,
  given?: Gpu,
): Promise<{ y: Float32Array; grads: (Float32Array | null)[] }> {
  const { graph, xs, dy, y, grads } = traced(f, inputs, cotangent, wanted);
  const device = given ?? (await gpu());
  const before = JSON.stringify(device.ledger.live);
  device.ledger.reset();
  const schedule = await Schedule.build(device, graph, processor);
  try {
    inputs.forEach((x, i) => schedule.upload(xs[i], f32(x)));
    if (dy) schedule.upload(dy, f32(cotangent!));
    schedule.run('all');
    const result = { y: await schedule.read(y), grads: [] as (Float32Array | null)[] };
    for (const g of grads) result.grads.push(g && (await schedule.read(g)));
    if (JSON.stringify(device.ledger.peak) !== JSON.stringify(schedule.plan.peak)) {
      throw new Error(`planned ${JSON.stringify(schedule.plan.peak)}, measured ${JSON.stringify(device.ledger.peak)}`);
    }
    return result;
  } finally {
    schedule.destroy();
    if (JSON.stringify(device.ledger.live) !== before) throw new Error('buffers were left behind');
  }
}
