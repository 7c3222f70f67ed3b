// Kernels give the same bits in whatever order their invocations and workgroups come. A driver on the CPU runs them one after another, so that a
// barrier that is missing does no harm in one order, and does in another.
import { isDeepStrictEqual } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Gpu, Graph, iterate, scale, Schedule, type Tensor, traceIteration } from '../src/index.ts';
import { gpuOps } from './gpu-ops.ts';
import { evaluate, f32, gpu, processorsOf } from './gpu.ts';
import { type NdArray, uniform } from './reference/ndarray.ts';

/** Which invocation of a workgroup of `size` is the i-th; workgroups come in the reverse order in all but the first. */
const orders = {
  'as they are': 'i',
  reversed: 'size - 1u - i',
  'even ones first': '(i % 2u) * (size / 2u + size % 2u) + i / 2u',
};
type Order = keyof typeof orders;

/** A kernel whose `main` is another invocation's: one of its own calls it with the builtins of that. */
function ordered(code: string, order: Order): string {
  const [head, size, parameters] = /@compute @workgroup_size\(([^)]*)\)\s*fn main\(((?:@builtin\(\w+\)|[^)])*)\)/.exec(code)!;
  const [x, y = '1', z = '1'] = size.split(',').map((part) => part.trim());
  const values: Record<string, string> = {
    global_invocation_id: 'vec3u(group.x * x + local % x, group.y * y + local / x, group.z)',
    local_invocation_index: 'local',
    workgroup_id: 'group',
    num_workgroups: 'groups',
  };
  const given = [...parameters.matchAll(/@builtin\((\w+)\)/g)].map(([, name]) => values[name]);
  return `${code.replace(head, `fn in_order(${parameters.replace(/@builtin\(\w+\)\s*/g, '')})`)}
@compute @workgroup_size(${size})
fn main(@builtin(local_invocation_index) i: u32, @builtin(workgroup_id) at: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let x = u32(${x}); let y = u32(${y}); let size = x * y * u32(${z});
  let local = ${orders[order]};
  let group = ${order === 'as they are' ? 'at' : 'groups - 1u - at'};
  in_order(${given.join(', ')});
}
`;
}

/** What `work` gives on a device whose kernels run in an order. */
async function inOrder<T>(order: Order, work: (device: Gpu) => Promise<T>): Promise<T> {
  const { device } = await gpu();
  const create = device.createShaderModule;
  device.createShaderModule = (given) => create.call(device, { ...given, code: ordered(given.code, order) });
  try {
    return await work(await Gpu.open({ device }));
  } finally {
    device.createShaderModule = create;
  }
}

/** The results in every order are those in the first. */
async function alike(what: string, work: (device: Gpu) => Promise<unknown>): Promise<void> {
  const [first, ...others] = Object.keys(orders) as Order[];
  const expected = await inOrder(first, work);
  for (const order of others) assert.ok(isDeepStrictEqual(await inOrder(order, work), expected), `${what}: other bits, ${order}`); // their difference is long
}

const image = (...shape: number[]) => uniform(shape, 1, 0, 1);
const attrs = { window: [5, 3, 7], epsilon: 1e-3 };
const cases: [op: string, inputs: NdArray[], attrs: object][] = [
  ['lncc', [image(1, 1, 37, 9, 70), uniform([1, 1, 37, 9, 70], 2, 0, 1)], attrs],
  ['lncc', [image(1, 1, 3, 4, 67), uniform([1, 1, 3, 4, 67], 2, 0, 1)], { ...attrs, window: [11, 3, 3] }],
  ['lnccForce', [image(1, 1, 37, 6, 9), uniform([1, 1, 37, 6, 9], 2, 0, 1), uniform([1, 3, 37, 6, 9], 3)], attrs],
  ['conv3d', [image(1, 5, 6, 7, 12), uniform([9, 5, 3, 3, 3], 2), uniform([9], 3)], { stride: 1, padding: 'zero' }],
  ['conv3d', [image(1, 3, 7, 8, 9), uniform([5, 3, 3, 3, 3], 2), uniform([5], 3)], { stride: 2, padding: 'zero' }],
  ['warp', [image(1, 2, 6, 7, 9), uniform([1, 3, 6, 7, 9], 2, -3, 3)], {}],
  ['instanceNorm', [image(1, 2, 19, 17, 23), uniform([2], 2), uniform([2], 3)], {}],
  ['gaussian', [image(1, 3, 17, 18, 20)], { sigma: [1.3, 2, 0.7] }],
  ['sum', [image(1, 3, 19, 11, 13)], {}],
  ['softDice', [image(1, 3, 9, 10, 11), uniform([1, 3, 9, 10, 11], 2, 0, 1)], {}],
];
for (const [op, inputs, given] of cases) {
  const f = (xs: Tensor[]) => gpuOps[op](xs, given);
  const graph = new Graph();
  const { shape } = graph.phase('all', () => f(inputs.map((x, i) => graph.input(`x${i}`, x.shape))));
  const wanted = inputs.map((_, i) => op !== 'lnccForce' || i > 0);
  const program = [f, inputs, uniform([...shape], 9), wanted] as const;
  for (const processor of processorsOf(...program))
    test(`${op} of ${inputs[0].shape.join('×')}, launched for a ${processor.toUpperCase()}`, () =>
      alike(op, (device) => evaluate(...program, processor, device)));
}

test("Anderson's steps", () =>
  alike('anderson', async (device) => {
    const graph = new Graph();
    const start = graph.input('start', [1, 3, 9, 10, 11]);
    const map = (z: Tensor) => ({ next: gpuOps.add([gpuOps.gaussian([scale(z, 0.9)], { sigma: [1, 1, 1] }), start], {}) });
    const iteration = traceIteration(graph, 'it', { method: 'anderson' }, start.shape, map);
    graph.phase('end', () => graph.output(iteration.best));
    const schedule = await Schedule.build(device, graph);
    try {
      schedule.upload(start, f32(uniform([1, 3, 9, 10, 11], 4)));
      const { residuals } = await iterate(schedule, iteration, { maxIterations: 8, rtol: 0, atol: 0, patience: 8 });
      schedule.run('end');
      return { residuals, z: await schedule.read(iteration.best) };
    } finally {
      schedule.destroy();
    }
  }));

test.run();
