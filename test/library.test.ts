// What callers of the library hand in: checked by name before anything runs, masks by their sign, and how a run is watched and ended.
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  applyAffine,
  applyDisplacement,
  composeFields,
  encodeDisplacement,
  encodeNifti,
  type Gpu,
  invert,
  jacobian,
  type MaskedVolume,
  parseDisplacement,
  parseNifti,
  planRegistration,
  type Progress,
  register,
  type RegisterOptions,
  toPhysical,
  type Vec3,
  type Volume,
} from '../src/index.ts';
import { parseVolume } from '../src/io/parse-volume.ts';
import { doubts } from '../src/register/doubts.ts';
import { phantom } from '../src/register/phantom.ts';
import { gpu } from './gpu.ts';
import { moved, transformOf } from './moved.ts';
import { rejection } from './rejection.ts';

const brain = phantom('brain', [24, 28, 32], 1);
const { fixed, moving } = brain;
const field = { size: fixed.size, affine: fixed.affine, data: toPhysical(brain.displacement, fixed) };
const short = { iterations: 4 };
const run = async (a: MaskedVolume, b: MaskedVolume, options: RegisterOptions = short, onProgress?: (progress: Progress) => void) =>
  register(await gpu(), a, b, options, onProgress);

test('a mask counts where it is above 0, whatever it holds', async () => {
  const inside = brain.fixedSeg.data;
  const masked = async (of: (label: number) => number) => {
    const mask = inside.map(of);
    return (await run({ ...fixed, mask }, { ...moving, mask })).displacement;
  };
  const plain = await masked((label) => Number(label > 0));
  const others: Record<string, (label: number) => number> = {
    'of 255': (label) => 255 * Number(label > 0),
    'a label map': (label) => label,
    '−1 outside': (label) => (label > 0 ? 1 : -1),
    'NaN outside': (label) => (label > 0 ? 0.5 : NaN),
  };
  for (const [what, of] of Object.entries(others)) assert.equal(await masked(of), plain, what);
});

test('what is no volume, field, choice or option is refused by its name', async () => {
  const cases: [unknown, unknown, unknown, RegExp][] = [
    [{ ...fixed, data: [...fixed.data] }, moving, {}, /^fixed: data must be a Float32Array, got Array$/],
    [fixed, { ...moving, data: moving.data.slice(1) }, {}, /^moving: data must have 24×28×32 = 21504 values, got 21503$/],
    [fixed, { ...moving, mask: new Float32Array(3) }, {}, /^moving: mask must have 24×28×32 = 21504 values, got 3$/],
    [{ ...fixed, mask: new Float32Array(21504) }, moving, {}, /^fixed: mask: an empty mask: no voxel is above 0$/],
    [{ ...fixed, size: [24, 28, NaN] }, moving, {}, /^fixed: size must be three whole numbers above 0 \(W, H, D\), got \[24,28,NaN\]$/],
    [{ ...fixed, affine: [1, 2, 3] }, moving, {}, /^fixed: affine must be twelve numbers.* got \[1,2,3\]$/],
    [fixed, moving, () => {}, /^register: options must be an object such as \{ levels: \[8, 4\] \}, got function$/],
    [fixed, moving, { initial: 'affine.txt' }, /^initial must be twelve numbers, the three rows of an affine in RAS mm, got affine\.txt$/],
    [fixed, moving, { initial: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0] }, /^initial: its affine is singular/],
    [undefined, moving, {}, /^fixed must be an object with size and affine, got undefined$/],
    [fixed, { ...moving, size: Int32Array.from(moving.size) }, {}, /^moving: size must be three whole numbers above 0 .*, got Int32Array$/],
    [fixed, { ...moving, affine: [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] }, {}, /^moving: its affine is singular/],
    [fixed, moving, { signal: new AbortController() }, /^signal must be an AbortSignal, such as the `signal` of an AbortController/],
    [fixed, moving, { levels: '8,4' }, /^levels must be powers of two such as 8,4,2, got 8,4$/],
    [fixed, moving, { iterations: '4' }, /^iterations must be one number, or a list of one a level, got "4"$/],
    [fixed, moving, { lambda: null }, /^lambda must be one number, or a list of one a level, got null$/],
    [fixed, moving, { method: 'deq', model: 'brain-mri' }, /^model must be what readModel or parseModel gives as `model`, got brain-mri$/],
    [fixed, moving, { levels: ['8', '4'] }, /^levels must be powers of two such as 8,4,2, got 8,4$/],
  ];
  for (const [a, b, options, message] of cases)
    assert.match(await rejection(run(a as Volume, b as Volume, options as RegisterOptions)), message);
  const g = await gpu();
  assert.match(await rejection(register(Promise.resolve(g) as unknown as Gpu, fixed, moving)), /^gpu is no opened Gpu; give what `await/);
  const nearest = 'Nearest' as 'nearest';
  assert.match(
    await rejection(applyDisplacement(g, brain.movingSeg, field, nearest)),
    /^interpolation must be one of linear, nearest; got Nearest$/,
  );
  const holed = { ...field, data: field.data.map((x, v) => (v === 9 ? NaN : x)) };
  for (const taken of [
    () => invert(g, holed),
    () => jacobian(g, holed),
    () => composeFields(g, field, holed),
    () => applyDisplacement(g, moving, holed),
  ])
    assert.match(await rejection(taken()), /: 1 of 64512 voxels are NaN;/);
  const far = { size: [512, 512, 320] as Vec3, affine: [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] };
  assert.throws(() => planRegistration(far, far), /^fixed: its affine is singular/);
  assert.throws(() => encodeDisplacement(field, 'itkk' as 'itk'), /^encodeDisplacement: form must be one of itk, .*; got itkk$/);
  const third = { ...field, data: field.data.slice(0, 21504) };
  assert.match(await rejection(applyDisplacement(g, moving, third)), /^displacement: data must have 3×24×28×32 = 64512 values, got 21504$/);
  assert.match(await rejection(invert(g, field, { tol: 1 } as object)), /^invert: unknown option tol; there are grid, tolerance, /);
  assert.throws(() => encodeNifti({ ...fixed, dtype: 'int64' as 'int32' }), /^encodeNifti: dtype must be one of float32, .*; got int64$/);
});

test('a displacement is applied to an image and to labels on another grid than its own', async () => {
  const g = await gpu();
  const affine = [0, 0, 2, -10, -3, 0, 0, 20, 0, 1.5, 0, -8]; // axes in another order and direction
  const onGrid = (of: (x: number, y: number, z: number) => number): Volume => {
    const size = [22, 30, 24] as Vec3;
    const data = new Float32Array(22 * 30 * 24).map((_, v) => {
      const [x, y, z] = applyAffine(affine, [v % 22, Math.floor(v / 22) % 30, Math.floor(v / 660)]);
      return of(x, y, z);
    });
    return { size, affine, data, dtype: 'float32' };
  };
  const field = { size: [8, 9, 10] as Vec3, affine: [2, 0, 0, -6, 0, 3, 0, -12, 0, 0, 2.5, 0], data: new Float32Array(3 * 720).fill(1.25) }; // LPS mm
  const moved = ([i, j, k]: Vec3) => [2 * i - 6 - 1.25, 3 * j - 12 - 1.25, 2.5 * k + 1.25] as Vec3;
  const ramp = await applyDisplacement(
    g,
    onGrid((x, y, z) => x + 10 * y + 100 * z),
    field,
  );
  const half = await applyDisplacement(
    g,
    onGrid((x, y, z) => (x > 1.1 ? 1 : 0) + (y > 1.1 ? 2 : 0) + (z > 9.9 ? 4 : 0)),
    field,
    'nearest',
  );
  const nearest = (x: number, from: number, step: number) => from + step * Math.floor((x - from) / step + 0.5);
  for (let v = 0; v < 720; v++) {
    const [x, y, z] = moved([v % 8, Math.floor(v / 8) % 9, Math.floor(v / 72)]);
    assert.ok(Math.abs(ramp.data[v] - (x + 10 * y + 100 * z)) < 1e-2, `voxel ${v}`);
    const label = (nearest(x, -10, 2) > 1.1 ? 1 : 0) + (nearest(y, 20, -3) > 1.1 ? 2 : 0) + (nearest(z, -8, 1.5) > 9.9 ? 4 : 0);
    assert.is(half.data[v], label, `voxel ${v}`);
  }
});

test('bytes come as an ArrayBuffer, or as a view into one', () => {
  const bytes = encodeNifti({ ...fixed, dtype: 'float32' });
  const pooled = new Uint8Array(bytes.length + 24);
  pooled.set(bytes, 12);
  for (const given of [bytes, bytes.buffer, pooled.subarray(12, 12 + bytes.length), Buffer.from(bytes)])
    assert.equal(parseNifti('x', given).data, fixed.data);
  assert.equal(parseDisplacement('u', encodeDisplacement(field)).data, field.data);
  assert.throws(() => parseNifti('x', 'text' as unknown as Uint8Array), /^x: bytes must be an ArrayBuffer or a Uint8Array, got string$/);
});

test('values in shared memory are taken, a volume of more voxels than are wanted is not', async () => {
  const shared = (volume: Volume) => {
    const data = new Float32Array(new SharedArrayBuffer(volume.data.byteLength));
    data.set(volume.data);
    return { ...volume, data };
  };
  const [plain, same] = [await run(fixed, moving, short), await run(shared(fixed), shared(moving), short)];
  assert.equal(same.displacement, plain.displacement);
  const bytes = encodeNifti({ ...fixed, dtype: 'float32' });
  assert.equal((await parseVolume('x', bytes.slice().buffer)).data, fixed.data);
  assert.match(
    await rejection(parseVolume('x', gzipSync(bytes), { maxVoxels: 1000 })),
    /^x: 24×28×32 voxels; at most 1000 are taken here$/,
  );
  assert.match(await rejection(parseVolume('x', bytes, { maxVoxels: NaN })), /^x: maxVoxels must be a number above 0, got NaN$/);
  assert.match(
    await rejection(parseVolume('x', bytes, { maxVoxel: 9 } as object)),
    /^x: unknown option maxVoxel; there are maxVoxels, frame$/,
  );
});

test('progress begins at once, never falls, and ends at 1', async () => {
  const told: Progress[] = [];
  await run(fixed, moving, {}, (progress) => told.push(progress));
  assert.equal(told[0], { stage: 'affine', fraction: 0 });
  assert.equal(told.at(-1), { stage: 'finish', fraction: 1 });
  told.forEach(({ fraction }, i) => assert.ok(i === 0 || fraction >= told[i - 1].fraction, `${i}: ${fraction}`));
  const steps = told.filter((progress) => 'level' in progress);
  assert.ok(steps.length > 10);
  assert.is(steps.at(-1)!.fraction, 1); // a level that converged is done, whatever its budget
});

test('a signal, or an error of onProgress, ends a registration with its reason, and the GPU goes on', async () => {
  const { ledger } = await gpu();
  const before = ledger.live.total;
  const reason = new Error('the user has left');
  const aborted = (when: (progress: Progress) => boolean) => {
    const controller = new AbortController();
    return run(fixed, moving, { ...short, signal: controller.signal }, (progress) => when(progress) && controller.abort(reason));
  };
  for (const stage of ['affine', 'prepare', 'level', 'finish'])
    assert.is(await aborted((progress) => progress.stage === stage).catch((error) => error), reason, stage);
  assert.is(await run(fixed, moving, { signal: AbortSignal.abort(reason) }).catch((error) => error), reason);
  const thrown = run(fixed, moving, short, () => {
    throw reason;
  });
  assert.is(await thrown.catch((error) => error), reason);
  for (const stage of ['affine', 'finish']) {
    const rejecting = async (progress: Progress) => (progress.stage === stage ? Promise.reject(reason) : undefined);
    assert.is(await run(fixed, moving, short, rejecting).catch((error) => error), reason, stage);
  }
  const stopped = invert(await gpu(), field, { signal: AbortSignal.abort(reason) });
  assert.is(await stopped.catch((error) => error), reason);
  const late = new AbortController();
  const begun = invert(await gpu(), field, { signal: late.signal });
  late.abort(reason);
  assert.is(await begun.catch((error) => error), reason);
  assert.is(ledger.live.total, before, 'nothing is left behind');
  assert.is((await run(fixed, moving)).levels.length, 3);
});

test('two at a time on one device: each as if alone, by figures and by memory', async () => {
  const alone = await run(fixed, moving);
  const [a, b] = await Promise.all([run(fixed, moving), run(moving, fixed)]);
  assert.equal(a.displacement, alone.displacement);
  for (const { memory } of [a, b]) assert.equal(memory, alone.memory);
});

test('a result that may be none says why', async () => {
  const ct = { ...moving, data: moving.data.map((value) => value - 3000) };
  const [mixed, good, same, noise] = [
    await run(fixed, ct),
    await run(fixed, moving, {}),
    await run(fixed, fixed),
    await run(fixed, { ...moving, data: moving.data.map((_, v) => Math.sin(v * v)) }, { ...short, affine: 'none' }),
  ];
  assert.match(mixed.warnings.join(), /the fixed image is taken for MRI, the moving one for CT, by their values/);
  assert.match(noise.warnings.join(), /next to nothing in common: LNCC 0\.0/);
  assert.equal([good.warnings, same.warnings], [[], []]);
  const aside = moved(fixed, transformOf({ shift: [60, 0, 0] }), fixed); // of 160 mm
  const left = await run(fixed, aside, { levels: [8, 4], iterations: 2 });
  assert.ok(left.affine.mode === 'affine' && left.coverage < 0.8, `${left.affine.mode}, ${left.coverage}`);
  assert.match(
    left.warnings.join('; '),
    /the alignment takes \d\d % of the fixed grid out of the moving image, which covered all of it by the headers/,
  );
  const raised = { ...fixed, data: fixed.data.map((x) => x + 1e9) };
  const flat = await run(raised, moving, { ...short, affine: 'none' });
  assert.match(
    flat.warnings.join('; '),
    /^the fixed image's values, 1000000000 to 1000000\d+\.?\d*, differ by less than 100 steps of float32/,
  );
});

test('what speaks against a result is told from its figures: no more, and no less', () => {
  const window = { modality: 'mri' as const, low: 0, high: 1 };
  const good = {
    coverage: 1,
    similarity: { before: 0.3, after: 0.5 },
    intensities: { fixed: window, moving: window },
    levels: [],
    affine: { requested: 'auto', mode: 'none' },
  } as unknown as Parameters<typeof doubts>[0];
  const told = (more: object, covered = 1, turn = 0) => doubts({ ...good, ...more }, { covered, turn });
  const level = (result: string) => ({ levels: [{ factor: 4, result: 'converged' }, { factor: 2, result }] }); // prettier-ignore
  assert.equal(told({}), []);
  assert.equal(told({ coverage: 0.06, similarity: { before: 0.5, after: 0.497 }, ...level('max-iterations') }, 0.06), []);
  for (const [more, words] of [
    [{ coverage: 0.03 }, '3 % of the fixed grid lies in the moving image: hardly anything was compared'],
    [{ similarity: { before: 0.5, after: 0.48 } }, 'the images are less alike than before: LNCC 0.500 → 0.480'],
    [{ similarity: { before: 0.02, after: 0.04 } }, 'the images have next to nothing in common: LNCC 0.040'],
    [level('diverged'), 'the level at 1/2 resolution is diverged'],
    [level('non-finite'), 'the level at 1/2 resolution is non-finite'],
    [{ coverage: 0.7 }, 'the alignment takes 30 % of the fixed grid out of the moving image'],
    [{ intensities: { fixed: window, moving: { ...window, modality: 'ct' } } }, 'the fixed image is taken for MRI, the moving one for CT'],
  ] as const) {
    const all = told(more);
    assert.ok(
      all.some((line) => line.startsWith(words)),
      `${words}: ${all}`,
    );
  }
  assert.equal(told({ coverage: 0.7 }, 0.7), [], 'as the headers say');
  assert.equal(told({}, 1, 40), []);
  assert.match(told({}, 1, 100).join(), /^the alignment turns the moving image by 100° from where the headers put it/);
  assert.equal(told({ affine: { requested: 'rigid', mode: 'rigid' } }, 1, 100), [], 'asked for');
});

test.run();
