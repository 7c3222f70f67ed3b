// A moving image of which a level holds no more than what the fixed one sees.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type MaskedVolume, planRegistration, register, type Registration, type RegisterOptions, type Volume } from '../src/index.ts';
import { type Affine, applyAffine, composeAffine, invertAffine, type Vec3, voxelToVoxel } from '../src/io/affine.ts';
import { phantom } from '../src/register/phantom.ts';
import { gpu } from './gpu.ts';
import { transformOf } from './moved.ts';

const size: Vec3 = [40, 48, 56];
const brain = phantom('brain', size, 1);
const run = async (fixed: Volume, moving: MaskedVolume, options: RegisterOptions = {}) => register(await gpu(), fixed, moving, options);

test('a moving image that is too large to be held with its gradient: the part that counts is', async () => {
  const { size, affine, data } = brain.moving;
  const extent = [208, 208, 208] as const; // 16 bytes a voxel are more than 128 MiB
  const room = size.map((n, axis) => 4 * Math.floor((extent[axis] - n) / 8)); // whole blocks of the coarsest level
  const padded = new Float32Array(extent[0] * extent[1] * extent[2]);
  for (let k = 0; k < size[2]; k++)
    for (let j = 0; j < size[1]; j++) {
      const row = (k * size[1] + j) * size[0];
      padded.set(data.subarray(row, row + size[0]), ((k + room[2]) * extent[1] + j + room[1]) * extent[0] + room[0]);
    }
  const wide: Volume = {
    ...brain.moving,
    size: [...extent],
    affine: composeAffine(affine, [1, 0, 0, -room[0], 0, 1, 0, -room[1], 0, 0, 1, -room[2]]),
    data: padded,
  };
  const options = { levels: [4, 2, 1], iterations: 6, affine: 'none' } as const;
  const [own, whole] = [await run(brain.fixed, brain.moving, options), await run(brain.fixed, wide, options)];
  assert.equal(whole.memory.measured, whole.memory.planned);
  assert.ok(planRegistration(brain.fixed, wide, options).plan.slots.every(({ bytes }) => bytes <= 2 ** 27));
  /** How far apart two results lead, in voxels of the moving image, where the brain is. */
  const apart = (a: Registration, b: Registration, [from, to]: Volume[]) => {
    const n = a.displacement.length / 3;
    const [toA, toB] = [from, to].map((moving) => voxelToVoxel(brain.fixed.affine, moving.affine));
    const place = ({ displacement: u }: Registration, v: number) =>
      [v % size[0], Math.floor(v / size[0]) % size[1], Math.floor(v / (size[0] * size[1]))].map((x, c) => x + u[c * n + v]);
    let worst = 0;
    brain.fixedSeg.data.forEach((label, v) => {
      if (!label) return;
      const [p, q] = [applyAffine(toA, place(a, v)), applyAffine(toB, place(b, v))];
      worst = Math.max(worst, Math.hypot(...p.map((x, axis) => x + (from === brain.moving ? room[axis] : 0) - q[axis])));
    });
    return worst;
  };
  assert.ok(apart(own, whole, [brain.moving, wide]) < 0.1, `${apart(own, whole, [brain.moving, wide])} voxels`);
  // Where a transform puts it far away, it is held on the grid of the fixed image there, which is another one than its own.
  const turn = transformOf({ turn: [10, 25, -15], shift: [300, 0, 50] });
  const away = { ...wide, affine: composeAffine(turn, wide.affine), mask: padded.map((x) => Number(x > 0)) };
  const turned = await run(brain.fixed, away, { ...options, initial: turn });
  assert.equal(turned.memory.measured, turned.memory.planned);
  const masked = await run(brain.fixed, { ...brain.moving, mask: brain.moving.data.map((x) => Number(x > 0)) }, options);
  assert.ok(apart(masked, turned, [brain.moving, away]) < 0.1, `${apart(masked, turned, [brain.moving, away])} voxels`);
});

test('the similarity before is that of where the headers lead, of which nothing is held where the transform leads far away', async () => {
  const { size, affine, data } = brain.moving;
  const extent = [208, 208, 208] as const;
  const room = [4, 80, 76];
  const apart = 160; // voxels from one brain to the other
  const both = new Float32Array(extent[0] * extent[1] * extent[2]);
  for (let k = 0; k < size[2]; k++)
    for (let j = 0; j < size[1]; j++) {
      const row = (k * size[1] + j) * size[0];
      for (const from of [room[0], room[0] + apart])
        both.set(data.subarray(row, row + size[0]), ((k + room[2]) * extent[1] + j + room[1]) * extent[0] + from);
    }
  const shifted = (i: number, j: number, k: number): Affine => [1, 0, 0, i, 0, 1, 0, j, 0, 0, 1, k];
  const two: Volume = {
    ...brain.moving,
    size: [...extent],
    data: both,
    affine: composeAffine(affine, shifted(-room[0], -room[1], -room[2])),
  };
  const initial = composeAffine(affine, composeAffine(shifted(apart, 0, 0), invertAffine(affine)));
  const options = { levels: [2, 1], iterations: 3, affine: 'none' } as const;
  const [own, other] = [await run(brain.fixed, brain.moving, options), await run(brain.fixed, two, { ...options, initial })];
  for (const when of ['before', 'after'] as const)
    assert.ok(
      Math.abs(own.similarity[when] - other.similarity[when]) < 5e-3,
      `${when}: ${own.similarity[when]}, ${other.similarity[when]}`,
    );
});

test.run();
