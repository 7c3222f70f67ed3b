// An image that is mostly empty: what is not empty is solved on, and the result covers all of it.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type MaskedVolume, planRegistration, register, type Volume } from '../src/index.ts';
import { composeAffine, type Vec3 } from '../src/io/affine.ts';
import { phantom } from '../src/register/phantom.ts';
import { regionOf, within } from '../src/register/region.ts';
import { gpu } from './gpu.ts';

const size: Vec3 = [40, 48, 56];
const { fixed, moving } = phantom('brain', size, 1);
const room: Vec3 = [30, 20, 25];
const wide: Vec3 = [100, 90, 110];

/** An image amid nothing. */
function padded<Image extends Volume>(image: Image): Image {
  const data = new Float32Array(wide[0] * wide[1] * wide[2]);
  for (let k = 0; k < size[2]; k++)
    for (let j = 0; j < size[1]; j++) {
      const from = (k * size[1] + j) * size[0];
      data.set(image.data.subarray(from, from + size[0]), ((k + room[2]) * wide[1] + j + room[1]) * wide[0] + room[0]);
    }
  const affine = composeAffine(image.affine, [1, 0, 0, -room[0], 0, 1, 0, -room[1], 0, 0, 1, -room[2]]);
  return { ...image, size: [...wide], affine, data };
}

test('the region is the box around what is there, and a margin of 12 voxels of the finest axis, inside the image', () => {
  const data = new Float32Array(64 * 64 * 40).fill(-5);
  data[(20 * 64 + 30) * 64 + 10] = 1;
  data[(22 * 64 + 34) * 64 + 31] = -4;
  const grid = { size: [64, 64, 40] as const, affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0], data };
  assert.equal(regionOf(grid), { first: [0, 18, 16], size: [44, 29, 11] });
  assert.is(regionOf({ ...grid, data: data.fill(-5) }), undefined, 'nothing');
  assert.is(regionOf(fixed), undefined, 'most of it is there');
  assert.is(regionOf({ size: grid.size, affine: grid.affine }), undefined, 'its values are not known');
});

test('the displacement is that of the part alone, and goes on beyond it', async () => {
  const whole = { fixed: padded(fixed), moving: padded(moving) };
  const mask = whole.fixed.data.map((x, v) => Number(x > 0 && v % 7 !== 0));
  const options = { levels: [4, 2], iterations: 12, affine: 'rigid' } as const;
  const image: MaskedVolume = { ...whole.fixed, mask };
  const found = await register(await gpu(), image, whole.moving, options);
  const { region } = found.options;
  assert.ok(region && region.size[0] < 70, JSON.stringify(region));
  assert.equal(found.memory.measured, found.memory.planned);
  const planned = planRegistration(image, whole.moving, options);
  assert.equal([planned.plan.peak, planned.options.region], [found.memory.planned, region]);

  const alone = await register(await gpu(), within(image, region), whole.moving, options);
  assert.is(alone.options.region, undefined);
  assert.equal([found.similarity, found.affine], [alone.similarity, alone.affine]);
  const [n, m] = [wide, region.size].map(([w, h, d]) => w * h * d);
  let worst = 0;
  const [w, h] = region.size;
  for (let v = 0; v < m; v++) {
    const [i, j, k] = [v % w, Math.floor(v / w) % h, Math.floor(v / (w * h))].map((x, axis) => x + region.first[axis]);
    const at = (k * wide[1] + j) * wide[0] + i;
    for (let c = 0; c < 3; c++) worst = Math.max(worst, Math.abs(found.displacement[c * n + at] - alone.displacement[c * m + v]));
    worst = Math.max(worst, Math.abs(found.warped.data[at] - alone.warped.data[v]));
  }
  assert.ok(worst < 2e-3, `${worst}`); // voxels, and values of 0 … 1000
  for (let c = 0, corner = n - 1; c < 3; c++) assert.ok(Number.isFinite(found.displacement[c * n + corner]));
  assert.is(found.warped.data[n - 1], 0);
});

test.run();
