// Augmentation: nothing where it is off, one map for an image and its labels, what is promised of flips, amplitudes, noise and folds, and
// the same values for the same seed.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Augmentation,
  augmentations,
  type AugmentationValues,
  drawAugmentation,
  Graph,
  type ImagePair,
  jacobianDeterminant,
  plan,
  Schedule,
  seededRandom,
  synthetic,
  type Tensor,
  traceAugmentation,
  uploadAugmentation,
} from '../src/index.ts';
import { f32, gpu } from './gpu.ts';
import { reference } from './reference/index.ts';
import { map, mean, type NdArray, ndarray, norm, relativeError, uniform } from './reference/ndarray.ts';

type Triple = readonly [number, number, number];
interface Grid {
  size: Triple;
  spacing: Triple;
}
const grid: Grid = { size: [24, 21, 19], spacing: [4, 3, 5] };
const { none, mri, ct } = augmentations;

const shapeOf = ({ size: [w, h, d] }: Grid, channels = 1) => [1, channels, d, h, w];
const names = ['fixed', 'moving', 'fixedLabels', 'movingLabels'] as const;
/** Smooth images, zero in a part of the volume, and label maps. */
function pairOn(on: Grid): Record<(typeof names)[number], NdArray> {
  const image = (seed: number) =>
    map(reference.gaussian.forward([uniform(shapeOf(on), seed, 0, 1)], { sigma: [1, 1, 1] }), (x, i) =>
      i % on.size[0] < 4 ? 0 : Math.fround(x),
    );
  const labels = (seed: number) => map(uniform(shapeOf(on), seed, 0, 4), Math.floor);
  return { fixed: image(1), moving: image(2), fixedLabels: labels(3), movingLabels: labels(4) };
}
const pair = pairOn(grid);

type Result = Partial<Record<(typeof names)[number] | 'fixedField' | 'movingField' | 'determinant', NdArray>>;

/** Traces an augmentation once; each call of the result runs it with the given values. */
async function augmenter(options: Augmentation, on = grid, images: Partial<Record<string, NdArray>> = pair) {
  const graph = new Graph();
  const inputs = Object.fromEntries(Object.entries(images).map(([name, x]) => [name, graph.input(name, x!.shape)])) as unknown as ImagePair;
  const { augmented, outputs } = graph.phase('augment', () => {
    const augmented = traceAugmentation(graph, inputs, options, on.spacing);
    const { fixed: fixedField, moving: movingField } = augmented.displacements;
    const all = { ...augmented, fixedField, movingField, determinant: movingField && jacobianDeterminant(movingField) };
    const wanted = [...names, 'fixedField', 'movingField', 'determinant'] as const;
    const outputs = wanted.flatMap((name) => (all[name]?.kind === 'result' ? [[name, graph.output(all[name])] as const] : []));
    return { augmented, outputs };
  });
  const schedule = await Schedule.build(await gpu(), graph);
  const run = async (values: AugmentationValues): Promise<Result> => {
    for (const [name, x] of Object.entries(images)) schedule.upload(inputs[name as keyof ImagePair]!, f32(x!));
    uploadAugmentation(schedule, augmented, values);
    schedule.run('augment');
    const result: Result = {};
    for (const [name, tensor] of outputs) result[name] = ndarray([...tensor.shape], await schedule.read(tensor));
    return result;
  };
  return { run, graph, augmented, inputs, end: () => schedule.destroy() };
}

async function augment(options: Augmentation, values: AugmentationValues, on = grid, images?: Partial<Record<string, NdArray>>) {
  const { run, end } = await augmenter(options, on, images);
  try {
    return await run(values);
  } finally {
    end();
  }
}
const draw = (options: Augmentation, seed: number, on = grid) => drawAugmentation(seededRandom(seed), options, on);
/** Values that differ; a failed comparison of whole arrays would print them all. */
const differing = (a: NdArray, b: NdArray): number => a.data.filter((x, i) => x !== b.data[i]).length;
const length = (field: NdArray, { spacing }: Grid): number => {
  const voxels = field.data.length / 3;
  return Math.sqrt(field.data.reduce((sum, x, i) => sum + (x * spacing[Math.floor(i / voxels)]) ** 2, 0) / voxels);
};

test('none gives the same tensors back and needs no input', () => {
  const graph = new Graph();
  const given = Object.fromEntries(names.map((name) => [name, graph.input(name, shapeOf(grid))])) as Record<(typeof names)[number], Tensor>;
  graph.phase('augment', () => {
    const augmented = traceAugmentation(graph, given, none, grid.spacing);
    for (const name of names) assert.is(augmented[name], given[name]);
    assert.equal(augmented.inputs, {});
  });
  assert.is(graph.nodes.length, 0);
});

test('the middle of every range changes nothing: images to 1e-6, labels exactly', async () => {
  const options: Augmentation = { ...mri, deformation: { rms: [0, 1e-9], sigma: 12 }, intensity: { ...mri.intensity, noise: 0 } };
  const found = await augment(
    options,
    drawAugmentation(() => 0.5, options, grid),
  );
  for (const name of ['fixed', 'moving'] as const)
    assert.ok(
      found[name]!.data.every((x, i) => Math.abs(x - pair[name].data[i]) < 1e-6),
      name,
    );
  for (const name of ['fixedLabels', 'movingLabels'] as const) assert.is(differing(found[name]!, pair[name]), 0);
});

test('a flip reverses an axis of all four volumes, exactly', async () => {
  const options: Augmentation = { ...none, flips: [1, 0, 1] };
  const found = await augment(options, draw(options, 1));
  const [w, h, d] = grid.size;
  for (const name of names) {
    const flipped = map(pair[name], (_, i) => {
      const [x, y, z] = [i % w, Math.floor(i / w) % h, Math.floor(i / (w * h))];
      return pair[name].data[((d - 1 - z) * h + y) * w + w - 1 - x];
    });
    assert.is(differing(found[name]!, flipped), 0, name);
  }
});

test('an image and its labels are sampled by one map, each once', async () => {
  const options: Augmentation = { ...mri, intensity: none.intensity };
  const found = await augment(options, draw(options, 2));
  for (const side of ['fixed', 'moving'] as const) {
    const u = found[`${side}Field`]!;
    assert.ok(length(u, grid) > 1);
    assert.ok(relativeError(found[side]!.data, reference.warp.forward([pair[side], u], {}).data) < 1e-5);
    const different = differing(found[`${side}Labels`]!, reference.warpNearest.forward([pair[`${side}Labels`], u], {}));
    assert.ok(different < 5, `${different} labels differ`); // positions half-way between voxels, rounded in f32
  }
});

test('the common map moves both images alike; the moving one has its own besides', async () => {
  const shared: Augmentation = { ...none, flips: mri.flips, common: mri.common };
  const alike = await augment(shared, draw(shared, 3));
  assert.is(differing(alike.fixedField!, alike.movingField!), 0);
  const own: Augmentation = { ...shared, moving: mri.moving };
  const values = draw(own, 3);
  const { fixedField, movingField } = await augment(own, values);
  assert.is(differing(fixedField!, alike.fixedField!), 0); // the same draws, whatever the options
  assert.ok(relativeError(movingField!.data, fixedField!.data) > 1e-3);
});

test('an affine map turns about the centre of the volume in mm, within its ranges', () => {
  const rotating: Augmentation = { ...none, common: { ...none.common, rotation: 30 } };
  const [w, h, d] = grid.size;
  for (let seed = 0; seed < 5; seed++) {
    const m = [...draw(rotating, seed).fixedMatrix];
    const rows = [0, 4, 8].map((r) => [0, 1, 2].map((c) => (m[r + c] * grid.spacing[r / 4]) / grid.spacing[c]));
    rows.forEach((a, i) => rows.forEach((b, j) => assert.ok(Math.abs(a[0] * b[0] + a[1] * b[1] + a[2] * b[2] - Number(i === j)) < 1e-6)));
    const centre = [(w - 1) / 2, (h - 1) / 2, (d - 1) / 2];
    [0, 4, 8].forEach((r, i) => {
      const at = m[r] * centre[0] + m[r + 1] * centre[1] + m[r + 2] * centre[2] + m[r + 3];
      assert.ok(Math.abs(at - centre[i]) < 1e-4);
    });
  }
  const shifted: Augmentation = { ...none, common: { ...none.common, translation: 8 } };
  const shifts = Array.from({ length: 20 }, (_, seed) => draw(shifted, seed).fixedMatrix).flatMap((m) => [m[3] * 4, m[7] * 3, m[11] * 5]);
  assert.ok(shifts.every((x) => Math.abs(x) <= 8) && Math.max(...shifts) > 6 && Math.min(...shifts) < -6);
});

test('the deformation has the RMS length that was drawn, in mm', async () => {
  const options: Augmentation = { ...none, deformation: { rms: [2, 6], sigma: 14 } };
  const { run, end, augmented } = await augmenter(options);
  assert.equal(Object.keys(augmented.inputs).sort(), ['deformationRms', 'deformationSeed']);
  for (let seed = 0; seed < 3; seed++) {
    const values = draw(options, seed);
    const [rms] = values.deformationRms;
    assert.ok(rms >= 2 && rms <= 6);
    const { movingField, fixedField } = await run(values);
    assert.ok(Math.abs(length(movingField!, grid) / rms - 1) < 1e-4);
    assert.is(fixedField, undefined);
  }
  end();
});

test('the deformation is as large in the corners as elsewhere', async () => {
  const options: Augmentation = { ...none, deformation: { rms: [3, 3], sigma: 14 } };
  const { run, end } = await augmenter(options);
  const [w, h, d] = grid.size;
  let corners = 0;
  for (let seed = 0; seed < 30; seed++) {
    const { data } = (await run(draw(options, seed))).movingField!;
    for (const corner of [0, w - 1].flatMap((x) => [0, h - 1].flatMap((y) => [0, d - 1].map((z) => (z * h + y) * w + x))))
      for (let c = 0; c < 3; c++) corners += (data[c * w * h * d + corner] * grid.spacing[c]) ** 2 / (8 * 30);
  }
  end();
  assert.ok(corners > 9 / 1.6 && corners < 9 * 1.6, `mean square ${corners} mm²`);
});

test('a seed gives the same deformation at half the resolution', async () => {
  const options: Augmentation = { ...none, deformation: { rms: [4, 4], sigma: 16 } };
  const fine: Grid = { size: [25, 21, 17], spacing: [3, 3, 3] };
  const coarse: Grid = { size: [13, 11, 9], spacing: [6, 6, 6] };
  const [a, b] = await Promise.all([draw(options, 5, fine), draw(options, 5, coarse)]);
  const large = (await augment(options, a, fine, pairOn(fine))).movingField!,
    small = (await augment(options, b, coarse, pairOn(coarse))).movingField!;
  const [w, h, d] = coarse.size;
  const same = map(small, (_, i) => {
    const [x, y, z, c] = [i % w, Math.floor(i / w) % h, Math.floor(i / (w * h)) % d, Math.floor(i / (w * h * d))];
    return large.data[((c * 17 + 2 * z) * 21 + 2 * y) * 25 + 2 * x] / 2; // in voxels of 6 mm
  });
  // The RMS over other voxels of the same volume is all that differs.
  assert.ok(relativeError(small.data, same.data) < 0.1, `${relativeError(small.data, same.data)}`);
});

for (const [name, options] of Object.entries({ mri, ct, 'synthetic mri': synthetic(mri), 'synthetic ct': synthetic(ct) })) {
  test(`${name}: the largest deformation does not fold`, async () => {
    const on: Grid = { size: [24, 24, 24], spacing: [4, 4, 4] };
    const [, rms] = options.deformation.rms;
    const largest: Augmentation = { ...options, deformation: { ...options.deformation, rms: [rms, rms] }, intensity: none.intensity };
    const { run, end } = await augmenter(largest, on, pairOn(on));
    for (let seed = 0; seed < 6; seed++) {
      const values = draw(largest, seed, on);
      const { determinant } = await run(values);
      const m = values.movingMatrix;
      const flipped = Math.sign(
        m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) + m[2] * (m[4] * m[9] - m[5] * m[8]),
      );
      const least = Math.min(...determinant!.data.map((x) => flipped * x));
      assert.ok(least > 0, `seed ${seed}: ${least}`);
    }
    end();
  });
}

test('intensities: gain · x^γ + offset, the background at the offset', async () => {
  const options: Augmentation = { ...none, intensity: { gamma: 0.5, gain: 0.25, offset: 0.1, noise: 0 } };
  const values = draw(options, 6);
  const found = await augment(options, values);
  for (const side of ['fixed', 'moving'] as const) {
    const [gamma, gain, offset] = values[`${side}Intensity`];
    assert.ok(gamma >= 1 / 1.5 && gamma <= 1.5 && gain >= 0.8 && gain <= 1.25 && Math.abs(offset) <= 0.1);
    const expected = map(pair[side], (x) => gain * x ** gamma + offset);
    assert.ok(relativeError(found[side]!.data, expected.data) < 1e-5);
    assert.is(found[side]!.data[0], offset);
  }
  assert.not.equal(values.fixedIntensity, values.movingIntensity);
});

test('noise: of the drawn deviation, of mean 0, independent in the two images', async () => {
  const options: Augmentation = { ...none, intensity: { gamma: 0, gain: 0, offset: 0, noise: 0.2 } };
  const values = draw(options, 7);
  const found = await augment(options, values);
  const [a, b] = (['fixed', 'moving'] as const).map((side) => {
    const sigma = values[`${side}Intensity`][3];
    return map(found[side]!, (x, i) => (x - pair[side].data[i]) / sigma).data;
  }) as [Float64Array, Float64Array];
  const tolerance = 4 / Math.sqrt(a.length); // four standard errors
  for (const x of [a, b]) {
    assert.ok(Math.abs(mean(x)) < tolerance);
    assert.ok(Math.abs(norm(x) / Math.sqrt(x.length) - 1) < tolerance);
  }
  assert.ok(Math.abs(mean(a.map((x, i) => x * b[i]))) < tolerance);
});

test('the same seed, the same augmentation, bit for bit; another seed, another', async () => {
  const { run, end } = await augmenter(mri);
  const [first, again, other] = [await run(draw(mri, 8)), await run(draw(mri, 8)), await run(draw(mri, 9))];
  end();
  for (const name of names) {
    assert.is(differing(again[name]!, first[name]!), 0);
    assert.ok(differing(other[name]!, first[name]!) > 100);
  }
});

test('a draw takes as many numbers whatever the options', () => {
  const counts = [none, mri, ct, synthetic(ct)].map((options) => {
    let count = 0;
    const next = seededRandom(1);
    drawAugmentation(() => (count++, next()), options, grid);
    return count;
  });
  assert.equal(new Set(counts).size, 1);
});

test('synthetic: the moving image and its labels are the fixed ones, moved; the moving input is not read', async () => {
  const options: Augmentation = { ...synthetic(ct), intensity: none.intensity };
  const { run, end, graph, inputs } = await augmenter(options);
  const { moving, movingField, movingLabels } = await run(draw(options, 10));
  end();
  assert.ok(relativeError(moving!.data, reference.warp.forward([pair.fixed, movingField!], {}).data) < 1e-5);
  assert.ok(differing(movingLabels!, reference.warpNearest.forward([pair.fixedLabels, movingField!], {})) < 5);
  const { slotOf } = plan(graph);
  assert.equal([slotOf.has(inputs.fixed), slotOf.has(inputs.moving), slotOf.has(inputs.movingLabels!)], [true, false, false]);
});

test('what does not fit is refused, with its values', () => {
  const graph = new Graph();
  const [fixed, moving] = [graph.input('fixed', [1, 1, 4, 5, 6]), graph.input('moving', [1, 1, 4, 5, 7])];
  const trial = (images: ImagePair, options = mri, spacing: Triple = [1, 1, 1]) =>
    graph.phase(`trial ${graph.phases.length}`, () => void traceAugmentation(graph, images, options, spacing));
  const good = { fixed, moving: fixed };
  assert.throws(() => trial({ fixed, moving }), /moving \[1,1,4,5,7\] is not on the grid of fixed \[1,1,4,5,6\]/);
  assert.throws(() => trial(good, mri, [1, 0, 1]), /spacing must be above 0 mm, got \[1,0,1\]/);
  assert.throws(() => trial(good, { ...mri, flips: [0, 2, 0] }), /probabilities/);
  assert.throws(() => trial(good, { ...mri, moving: { ...mri.moving, shear: -1 } }), /at least 0/);
  assert.throws(() => trial(good, { ...mri, deformation: { rms: [2, 1], sigma: 9 } }), /rms\[0\] ≤ rms\[1\]/);
});

test.run();
