// The cells against PyTorch (golden/cells.py, float64): the update and, of the learned ones, all of its gradients; storage in f16; files of
// weights.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type CellOptions,
  centre,
  encodeSafetensors,
  gradirn,
  fill,
  Graph,
  identity,
  type LevelImages,
  localStatistics,
  type Mapped,
  type ParameterValues,
  parseSafetensors,
  resetAdam,
  runOnce,
  Schedule,
  type Tensor,
  traceTrainingStep,
  type TrainingStepOptions,
  unitGrid,
  variationalCell,
  vjp,
  withGradient,
} from '../src/index.ts';
import { cells } from '../src/models/cells.ts';
import { composedAdam, composedAdamState } from '../src/models/composed-adam.ts';
import { gpu } from './gpu.ts';
import { dot, norm, relativeError } from './reference/ndarray.ts';
import { at } from './root.ts';

type Name = keyof typeof cells;
const names = Object.keys(cells) as Name[];
const CHANNELS = 4,
  WINDOW = 5;
/** What symmetricJacobian makes of the force's part of the gradient for u, in float64: its cosine with Jᵀw, and its relative error. */
const SYMMETRIC = { deqreg: { cosine: 0.8585, error: 0.5293 }, gradirn: { cosine: 0.8654, error: 0.5103 } };

const load = (name: string): ParameterValues => parseSafetensors(name, readFileSync(at('test', 'golden', `${name}.safetensors`))).tensors;
const golden = load('cells');
const of = (name: string): { shape: readonly number[]; data: Float32Array } => golden.get(name)!;
const minus = (x: Float32Array, y: Float32Array) => x.map((value, i) => value - y[i]);
const plus = (x: Float32Array, y: Float32Array) => x.map((value, i) => value + y[i]);
const cosine = (x: Float32Array, y: Float32Array) => dot(x, y) / (norm(x) * norm(y));

function close(actual: Float32Array, expected: Float32Array, tolerance: number, what: string): void {
  const error = relativeError(actual, expected);
  assert.ok(error < tolerance, `${what}: relative error ${error}`);
}

const device = await gpu();
const half = device.device.features.has('shader-f16');
if (!half) console.log('cells: the adapter has no shader-f16; f16 is not compared');

/** Traces, as phase `all`, f(u) on the golden's level and the gradients of ⟨f(u), v⟩ for u and the weights. */
function traceCell(name: Name, options: Partial<CellOptions>) {
  const graph = new Graph();
  const cell = cells[name](graph, { channels: CHANNELS, similarity: 'exact', ...options });
  const inputs = ['fixed', 'moving', 'u', 'v'].map((key) => graph.input(key, of(key).shape));
  const [fixed, moving, u, v] = inputs as [Tensor, Tensor, Tensor, Tensor];
  const images = () => ({
    fixed: localStatistics(fixed, WINDOW),
    moving: withGradient(centre(moving)),
    matrix: [...of('matrix').data],
    ratios: [...of('ratios').data] as [number, number, number],
  });
  const { y, du, dweights } = graph.phase('all', () => {
    const y = graph.output(cell.update(images())(u));
    const [du, ...dweights] = vjp([y], [v], [u, ...cell.parameters.tensors.values()]).map((g) => graph.output(g));
    return { y, du, dweights };
  });
  return { graph, cell, inputs, y, du, dweights };
}

interface Result {
  /** f(u) − u, and the gradient for u less that of u itself, which is v. */
  added: Float32Array;
  du: Float32Array;
  dweights: Map<string, Float32Array>;
  /** The weights, read back. */
  weights: ParameterValues;
}

async function run(name: Name, options: Partial<CellOptions> = {}, weights = load(`weights/${name}`)): Promise<Result> {
  const { graph, cell, inputs, y, du, dweights } = traceCell(name, options);
  const schedule = await Schedule.build(device, graph);
  try {
    cell.parameters.upload(schedule, weights);
    inputs.forEach((t) => schedule.upload(t, of(t.label).data));
    schedule.run('all');
    const found = new Map<string, Float32Array>();
    for (const [i, key] of [...cell.parameters.tensors.keys()].entries()) found.set(key, await schedule.read(dweights[i]));
    return {
      added: minus(await schedule.read(y), of('u').data),
      du: minus(await schedule.read(du), of('v').data),
      dweights: found,
      weights: await cell.parameters.read(schedule),
    };
  } finally {
    schedule.destroy();
  }
}

for (const name of names) {
  for (const similarity of ['exact', 'detached'] as const) {
    // Measured (llvmpipe): f(u) − u to 1.2e-6; gradients for u to 5e-7, for weights to 1.7e-6.
    test(`${name}, ${similarity}: the update and its gradients for u and every weight are PyTorch's`, async () => {
      const { added, du, dweights } = await run(name, { similarity });
      close(added, minus(of(`${name}.f`).data, of('u').data), 5e-6, 'f(u) − u');
      close(plus(du, of('v').data), of(`${name}.${similarity}.u`).data, 2e-6, 'gradient for u');
      // Less v, which is 4 times as large (1.7e-6), but 500 times where gradirn's force is detached: digits cancel (2.1e-5).
      const cancels = name === 'gradirn' && similarity === 'detached';
      close(du, minus(of(`${name}.${similarity}.u`).data, of('v').data), cancels ? 1e-4 : 5e-6, 'gradient for u, less v');
      assert.is(dweights.size, name === 'deqreg' ? 12 : 11);
      dweights.forEach((gradient, key) => close(gradient, of(`${name}.gradient.${key}`).data, 5e-6, `gradient for ${key}`));
    });
  }

  // The force leaves out the windows that a voxel shares with others, so its Jacobian J is not symmetric: in float64 the cosine of Jᵀv and
  // Jv is 0.92, and of Jᵀw and Jw, w what of v arrives at the force, 0.84 in deqreg, where the network and the smoothing stand between, and
  // 0.88 in gradirn. The difference's step of 0.02 voxels makes that 0.85 and 0.89; the rest of the gradient is exact.
  test(`${name}, finite-difference: near exact, and nearer than detached`, async () => {
    const [exact, detached, difference] = [
      await run(name),
      await run(name, { similarity: 'detached' }),
      await run(name, { similarity: 'finite-difference' }),
    ];
    assert.equal(difference.added, exact.added);
    difference.dweights.forEach((gradient, key) => assert.equal(gradient, exact.dweights.get(key), key));
    const [approximate, ofForce] = [minus(difference.du, detached.du), minus(exact.du, detached.du)];
    const [direction, error] = [cosine(approximate, ofForce), relativeError(approximate, ofForce)];
    assert.ok(Math.abs(direction - SYMMETRIC[name as keyof typeof SYMMETRIC].cosine) < 0.002, `cosine ${direction}`);
    assert.ok(Math.abs(error - SYMMETRIC[name as keyof typeof SYMMETRIC].error) < 0.005, `relative error ${error}`);
  });

  // Where the input of a leaky ReLU is near 0, f16 may put it on the other side and give its gradient the other slope: on so few voxels one
  // of them is seen. Measured: 2.3e-4 forward, up to 2.9e-3 in a gradient.
  if (half)
    test(`${name}, f16: the network's output and the gradients of the weights`, async () => {
      const weights = load(`weights/${name}`);
      const silent = new Map(
        [...weights].map(([key, { shape, data }]) => [key, { shape, data: key.startsWith('leave') ? data.map(() => 0) : data }]),
      );
      const [full, narrow, without] = [await run(name), await run(name, { dtype: 'f16' }), await run(name, {}, silent)];
      close(minus(narrow.added, without.added), minus(full.added, without.added), 2e-3, 'network');
      assert.not.equal(narrow.added, full.added);
      narrow.dweights.forEach((gradient, key) => close(gradient, full.dweights.get(key)!, 1e-2, `gradient for ${key}`));
    });

  test(`${name}: weights written to a file are read back the same`, async () => {
    const weights = load(`weights/${name}`);
    const { weights: read } = await run(name);
    assert.equal([...read.keys()].sort(), [...weights.keys()].sort());
    const { tensors } = parseSafetensors('weights', encodeSafetensors(read));
    read.forEach(({ shape, data }, key) => {
      assert.equal({ shape, data }, tensors.get(key));
      assert.equal(data, weights.get(key)!.data);
    });
  });
}
const classical = { lambda: 0.18, smoothing: 0.8 };
const steady = { ...classical, step: 0.375, softness: 0.3 };
/** f(u) of a cell without weights on the golden's level, and its monitor. */
async function runClassical(masked: boolean, trace: (graph: Graph, images: LevelImages) => (u: Tensor) => Mapped) {
  const graph = new Graph();
  const keys = ['fixed', 'moving', 'u', ...(masked ? ['masks.fixed', 'masks.moving'] : [])];
  const inputs = keys.map((key) => graph.input(key, of(key).shape));
  const [fixed, moving, u, ...masks] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const { next, monitor } = graph.phase('all', () => {
    const mapped = trace(graph, {
      fixed: localStatistics(fixed, WINDOW),
      moving: withGradient(centre(moving)),
      matrix: [...of('matrix').data],
      ratios: [...of('ratios').data] as [number, number, number],
      ...(masked && { masks: { fixed: masks[0], moving: masks[1] } }),
    })(u);
    return { next: graph.output(mapped.next), monitor: graph.output(mapped.monitor!) };
  });
  const schedule = await Schedule.build(device, graph);
  inputs.forEach((t) => schedule.upload(t, of(t.label).data));
  schedule.run('all');
  const found = { next: await schedule.read(next), monitor: (await schedule.read(monitor))[0] };
  schedule.destroy();
  return found;
}

test("the classical cell's update is PyTorch's, with masks and without, and so is the LNCC that it tells", async () => {
  for (const [masked, golden] of [
    [false, 'variational.f'],
    [true, 'variational.masked.f'],
  ] as const) {
    const { next, monitor } = await runClassical(masked, (_, images) => variationalCell(images, steady));
    close(minus(next, of('u').data), minus(of(golden).data, of('u').data), 5e-6, golden);
    if (!masked) assert.ok(Math.abs(monitor / of('variational.lncc').data[0] - 1) < 1e-5, `LNCC ${monitor}`);
  }
});

test("the first of Adam's composed steps is PyTorch's", async () => {
  const { next } = await runClassical(false, (graph, images) => {
    const memory = composedAdamState(graph, 'adam', of('u').shape);
    resetAdam(memory);
    return composedAdam(images, memory, { ...classical, step: 0.5, softness: 0.1 });
  });
  close(minus(next, of('u').data), minus(of('adam.f').data, of('u').data), 5e-6, 'f(u) − u');
});

test('a mask of one image alone counts as if all of the other did', async () => {
  const all = (graph: Graph) => fill(graph, of('masks.fixed').shape, 1);
  const f = async (masks: (graph: Graph, given: NonNullable<LevelImages['masks']>) => LevelImages['masks']) =>
    (await runClassical(true, (graph, images) => variationalCell({ ...images, masks: masks(graph, images.masks!) }, steady))).next;
  const none = await f(() => undefined);
  for (const side of ['fixed', 'moving'] as const) {
    const other = side === 'fixed' ? 'moving' : 'fixed';
    const [alone, both] = [
      await f((_, given) => ({ [side]: given[side] })),
      await f((graph, given) => ({ [side]: given[side], [other]: all(graph) })),
    ];
    close(minus(alone, of('u').data), minus(both, of('u').data), 1e-5, side);
    assert.ok(relativeError(minus(alone, of('u').data), minus(none, of('u').data)) > 0.01, `the ${side} mask counts`);
  }
});

test("Adam's composed steps remember: at one place the second is the first again, both moments being corrected", async () => {
  const once = (times: number) =>
    runClassical(false, (graph, images) => {
      const memory = composedAdamState(graph, 'adam', of('u').shape);
      resetAdam(memory);
      const update = composedAdam(images, memory, { ...classical, step: 0.5, softness: 0.1 });
      return (u) => Array.from({ length: times }, () => update(u)).at(-1)!;
    });
  const [first, third] = [await once(1), await once(3)];
  close(minus(third.next, of('u').data), minus(first.next, of('u').data), 1e-4, 'f(u) − u');
});

test('the learned cell begins by passing each component of the similarity’s step to its own', () => {
  const { parameters } = cells.deqreg(new Graph(), { channels: CHANNELS, similarity: 'exact' });
  const { shape, data } = parameters.initial(1).get('leave.weight')!;
  const inputs = CHANNELS + 3;
  assert.equal([...shape], [3, inputs, 3, 3, 3]);
  data.forEach((weight, i) => {
    const [output, input, tap] = [Math.floor(i / (27 * inputs)), Math.floor(i / 27) % inputs, i % 27];
    const passed = tap === 13 && input === CHANNELS + output ? 0.4 : 0;
    assert.ok(Math.abs(weight - passed) < 0.01, `weight ${output}, ${input}, tap ${tap}: ${weight}`);
  });
});

test('large images are centred by the same level as in PyTorch', async () => {
  const graph = new Graph();
  const x = graph.input('x', [1, 1, 30, 30, 25]);
  const y = graph.phase('all', () => graph.output(centre(x)));
  const values = Float32Array.from({ length: 30 * 30 * 25 }, (_, i) => i);
  const centred = await runOnce(device, graph, [[x, values]], y);
  assert.ok(Math.abs(centred[0] + of('large.level').data[0]) < 0.01, `${-centred[0]}, in PyTorch ${of('large.level').data[0]}`);
});

test('bad use is refused, with shapes', async () => {
  const { graph, cell } = traceCell('deqreg', { channels: 8 });
  const schedule = await Schedule.build(device, graph);
  try {
    assert.throws(
      () => cell.parameters.upload(schedule, load('weights/deqreg')),
      /parameter enter.weight is \[8,8,3,3,3\], the value \[4,8,3,3,3\]/,
    );
    assert.throws(() => cell.parameters.upload(schedule, load('weights/gradirn')), /missing enter.weight, .*unknown .*hidden.0.weight/);
  } finally {
    schedule.destroy();
  }
  const level = (shapes: Record<string, readonly number[]>) => () => {
    const graph = new Graph();
    const [fixed, moving, u] = ['fixed', 'moving', 'u'].map((key) => graph.input(key, shapes[key] ?? of(key).shape));
    const cell = gradirn(graph, { channels: CHANNELS, similarity: 'exact' });
    graph.phase('all', () => {
      const images = {
        fixed: localStatistics(fixed, WINDOW),
        moving: withGradient(moving),
        matrix: identity,
        ratios: [1, 1, 1] as const,
      };
      cell.update(images)(u);
    });
  };
  level({})();
  for (const [shapes, message] of [
    [{ fixed: [1, 7, 9, 11] }, /^localStatistics: image must be \[N, C, D, H, W\], got \[1,7,9,11\]$/],
    [{ fixed: [1, 2, 7, 9, 11] }, /^localStatistics: image needs 1 channel, got \[1,2,7,9,11\]$/],
    [{ moving: [9, 11] }, /^withGradient: image must be \[N, C, D, H, W\], got \[9,11\]$/],
    [{ u: [1, 2, 7, 9, 11] }, /^warpWithGradient: u needs 3 channels, got \[1,2,7,9,11\]$/],
    [{ u: [1, 3, 7, 9, 10] }, /^lnccForce: images \[1,1,7,9,11\] and \[1,1,7,9,10\] differ in shape$/],
  ] as [Record<string, number[]>, RegExp][])
    assert.throws(level(shapes), message);
  const good = { cell: 'deqreg', similarity: 'exact', channels: 4, grid: unitGrid([16, 16, 16]), adjoint: { adjoint: 'jfb' } } as const;
  for (const [options, message] of [
    [{ cell: 'toString' }, /^traceTrainingStep: cell toString is none of deqreg, gradirn$/],
    [{ loss: { similarity: 'ssd', diffusion: 1, dice: 0 } }, /^traceTrainingStep: loss\.similarity must be lncc or mse, got ssd$/],
    [{ lambda: [0.1, 0.2] }, /^traceTrainingStep: lambda has 2 values for 1 levels$/],
    [{ grid: {} }, /^traceTrainingStep: grid: size must be three whole numbers/],
    [{ adjoint: { adjoint: 'unrolled' } }, /^deq: unrolled needs a whole number of steps above 0, got undefined$/],
    [{ similarity: 'none' }, /^deqreg: similarity none is none of exact, detached, finite-difference$/],
    [{ dtype: 'f64' }, /^deqreg: dtype f64 is none of f32, f16$/],
    [{ channels: 0 }, /^deqreg: channels must be a whole number above 0, got 0$/],
  ] as const)
    assert.throws(() => traceTrainingStep({ ...good, ...options } as TrainingStepOptions), message);
});

test.run();
