// What an adapter can do at most, measured: multiply-adds a second, bytes copied a second; and what a dispatch costs the CPU.
import { kernel } from '../../src/gpu/kernel.ts';
import { numel, type Op, trace } from '../../src/graph/graph.ts';
import { type Gpu, Graph, scale, Schedule, type Tensor } from '../../src/index.ts';
import { flat } from '../../src/ops/launch.ts';
import copySource from './copy.wgsl';
import fmaSource from './fma.wgsl';
import { bestTimes } from './timing.ts';

const fmaKernel = kernel('fma', fmaSource);
const copyKernel = kernel('copy', copySource);

/** What is reached of one shape of a probe. */
export interface Probe {
  shape: string;
  value: number;
}
export interface Peak {
  /** Fused multiply-adds, 10⁹ FLOP a second, 2 FLOP each. */
  gflops: number;
  /** 10⁹ bytes a second, read and written, by one vector of four f32 an invocation: how most kernels, too, are laid out. */
  gbps: number;
  /** Every shape that was tried: of the multiply-adds the best counts. */
  fma: Probe[];
  copy: Probe[];
}

const ACCUMULATORS = [
  { lanes: 1, accumulators: 4 },
  { lanes: 1, accumulators: 8 },
  { lanes: 1, accumulators: 12 },
  { lanes: 4, accumulators: 2 },
  { lanes: 4, accumulators: 4 },
];
const INVOCATIONS = 2 ** 20;
/** Steps are doubled until a dispatch takes as long: timestamps and the store at the end do not count then. */
const LONG_MS = 20;
/** Vectors of four f32 in a row that an invocation copies: 1 is the reference; more are faster on an adapter that runs on the CPU. */
const COPY_ITEMS = [1, 4, 8];
/** Each of the two buffers, at most; beyond the caches of any adapter. */
const COPY_BYTES = 256 * 2 ** 20;
const SECONDS = 0.5;

interface FmaAttrs {
  lanes: number;
  accumulators: number;
  steps: number;
}

const fmaOp: Op<FmaAttrs> = {
  name: 'fma',
  shape: (_, { lanes }) => [[INVOCATIONS, lanes]],
  launch({ outputs: [y], attrs: { lanes, accumulators, steps } }) {
    const { constants, groups } = flat(INVOCATIONS);
    return [
      {
        kernel: fmaKernel,
        groups,
        constants: { ...constants, LANES: lanes, ACCUMULATORS: accumulators },
        bindings: { y },
        params: { count: INVOCATIONS, steps, a: 0.999, b: 0.001 },
      },
    ];
  },
};

const copyOp: Op<{ items: number }> = {
  name: 'copy',
  shape: ([x]) => [x],
  launch({ inputs: [x], outputs: [y], attrs: { items } }) {
    const count = numel(x.shape) / 4;
    const { constants, groups } = flat(Math.ceil(count / items));
    return [
      {
        kernel: copyKernel,
        groups,
        constants: { ...constants, ITEMS: items },
        bindings: { x, y },
        params: { count },
      },
    ];
  },
};

const TIMED = 'timed';

/** Best milliseconds of the one dispatch that `body` traces. */
async function time(gpu: Gpu, body: (graph: Graph) => Tensor, seconds: number): Promise<number> {
  const graph = new Graph();
  graph.phase(TIMED, () => graph.output(body(graph)));
  const schedule = await Schedule.build(gpu, graph);
  try {
    return (await bestTimes(schedule, TIMED, seconds))[0].ms;
  } finally {
    schedule.destroy();
  }
}

async function fma(gpu: Gpu, shape: Omit<FmaAttrs, 'steps'>): Promise<Probe> {
  const run = (steps: number, seconds: number) => time(gpu, (graph) => graph.apply(fmaOp, [], { ...shape, steps })[0], seconds);
  let steps = 8;
  while ((await run(steps, 0)) < LONG_MS) steps *= 2;
  const flop = 2 * 16 * steps * INVOCATIONS * shape.lanes * shape.accumulators;
  return {
    shape: `${shape.accumulators} × ${shape.lanes === 1 ? 'f32' : 'vec4f'}`,
    value: flop / (await run(steps, SECONDS)) / 1e6,
  };
}

async function copy(gpu: Gpu, items: number): Promise<Probe> {
  const bytes = Math.min(COPY_BYTES, gpu.limits.maxStorageBufferBindingSize, gpu.limits.maxBufferSize);
  const count = 32 * Math.floor(bytes / 128);
  const ms = await time(gpu, (graph) => trace(copyOp, [graph.input('x', [count])], { items }), SECONDS);
  return { shape: `${items} × vec4f`, value: (2 * 4 * count) / ms / 1e6 };
}

/** Measures both peaks; takes some seconds. With `before`, what was found then counts as well. */
export async function measurePeak(gpu: Gpu, before?: Peak): Promise<Peak> {
  const found: Pick<Peak, 'fma' | 'copy'> = { fma: [], copy: [] };
  for (const shape of ACCUMULATORS) found.fma.push(await fma(gpu, shape));
  for (const items of COPY_ITEMS) found.copy.push(await copy(gpu, items));
  const better = (probe: Probe, i: number, others?: Probe[]) => (others && others[i].value > probe.value ? others[i] : probe);
  const best = (probes: Probe[]) => Math.max(...probes.map(({ value }) => value));
  const [a, b] = [found.fma.map((p, i) => better(p, i, before?.fma)), found.copy.map((p, i) => better(p, i, before?.copy))];
  return { gflops: best(a), gbps: b[0].value, fma: a, copy: b };
}

/** Microseconds of one dispatch in a phase of `count` that do next to nothing: CPU time to encode and submit it, and until it is done. */
export async function dispatchCost(gpu: Gpu, count = 1000): Promise<{ encode: number; done: number }> {
  const graph = new Graph();
  const x = graph.input('x', [1]);
  graph.phase(TIMED, () => graph.output(Array.from({ length: count }).reduce<Tensor>((y) => scale(y, 1), x)));
  const schedule = await Schedule.build(gpu, graph);
  try {
    schedule.upload(x, new Float32Array(1));
    let [encode, done] = [Infinity, Infinity];
    for (let i = 0; i < 10; i++) {
      await gpu.idle();
      const started = performance.now();
      schedule.run(TIMED);
      const encoded = performance.now();
      await gpu.idle();
      encode = Math.min(encode, encoded - started);
      done = Math.min(done, performance.now() - started);
    }
    return { encode: (1e3 * encode) / count, done: (1e3 * done) / count };
  } finally {
    schedule.destroy();
  }
}
