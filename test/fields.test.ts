// Displacement fields as tools, against answers known on paper: affine maps, a smooth map's inverse, folds.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { applyAffine, composeAffine, invertAffine, type Affine, type Vec3, voxelSpacing } from '../src/io/affine.ts';
import { convertDisplacement, fromPhysical, toPhysical } from '../src/io/displacement.ts';
import { encodeDisplacement, parseDisplacement, type DisplacementField } from '../src/io/nifti.ts';
import type { Grid } from '../src/io/volume.ts';
import { composeFields, invert, jacobian, planInverse } from '../src/register/fields.ts';
import { determinantStats, jacobianStats } from '../src/register/metrics.ts';
import { nearestAffine } from '../src/register/nearest-affine.ts';
import { phantom } from '../src/register/phantom.ts';
import { gpu } from './gpu.ts';
import { messageOf } from './io-make-nifti.ts';

/** The affine of a grid of `size` around `centre` (RAS mm), with these columns. */
function gridAround(size: Vec3, columns: [Vec3, Vec3, Vec3], centre: Vec3): Grid {
  const rows = [0, 1, 2].flatMap((row) => [...columns.map((column) => column[row]), 0]);
  const middle = applyAffine(
    rows,
    size.map((n) => (n - 1) / 2),
  );
  return { size, affine: rows.map((value, n) => (n % 4 === 3 ? centre[(n - 3) / 4] - middle[(n - 3) / 4] : value)) };
}

/** The field whose map takes a point of RAS mm to map(point). */
function fieldOf(grid: Grid, map: (point: Vec3) => readonly number[]): DisplacementField {
  const {
      size: [w, h, d],
      affine,
    } = grid,
    n = w * h * d;
  const data = new Float32Array(3 * n);
  for (let k = 0, v = 0; k < d; k++)
    for (let j = 0; j < h; j++)
      for (let i = 0; i < w; i++, v++) {
        const from = applyAffine(affine, [i, j, k]),
          to = map(from);
        [-1, -1, 1].forEach((sign, axis) => {
          data[axis * n + v] = sign * (to[axis] - from[axis]);
        });
      }
  return { ...grid, data };
}

/** Largest |a − b| in mm over the voxels for which `counts`, their points in RAS mm. */
function farthest(a: DisplacementField, b: DisplacementField, counts: (point: Vec3) => boolean = () => true): number {
  const {
      size: [w, h],
      affine,
    } = a,
    n = a.data.length / 3;
  let most = 0,
    counted = 0;
  for (let v = 0; v < n; v++) {
    if (!counts(applyAffine(affine, [v % w, Math.floor(v / w) % h, Math.floor(v / (w * h))]))) continue;
    counted++;
    for (let c = 0; c < 3; c++) most = Math.max(most, Math.abs(a.data[c * n + v] - b.data[c * n + v]));
  }
  assert.ok(counted > 100, `${counted} voxels compared`);
  return most;
}

const inside = ({ size, affine }: Grid, margin = 0) => {
  const toVoxel = invertAffine(affine);
  return (point: Vec3) => applyAffine(toVoxel, point).every((x, axis) => x >= margin && x <= size[axis] - 1 - margin);
};

const oblique = gridAround(
  [14, 17, 11],
  [
    [1.4, 0.3, 0],
    [-0.4, 1.9, 0.2],
    [0.1, -0.3, -2.6],
  ],
  [5, -3, 8],
);
const upright = gridAround(
  [20, 12, 16],
  [
    [0, 0, 1.5],
    [-2.5, 0, 0],
    [0, 2, 0],
  ],
  [4, -2, 7],
);
const A: Affine = [1.08, 0.1, -0.05, 2, -0.12, 0.95, 0.06, -1, 0.04, -0.07, 1.1, 0.5];
const B: Affine = [0.97, -0.08, 0.02, -1.5, 0.1, 1.05, -0.04, 2, 0, 0.06, 0.93, 1];
const linear = (m: Affine) => (point: Vec3) => applyAffine(m, point);

/** More voxels than one slab holds. */
const wide = gridAround(
  [1024, 1030, 8],
  [
    [0.017, 0, 0],
    [0, 0.015, 0],
    [0, 0, 2.6],
  ],
  [5, -3, 8],
);

test('jacobian: an affine map has its determinant everywhere, on any grid', async () => {
  const det = 1.08 * (0.95 * 1.1 + 0.06 * 0.07) - 0.1 * (-0.12 * 1.1 - 0.06 * 0.04) - 0.05 * (0.12 * 0.07 - 0.95 * 0.04);
  for (const grid of [oblique, upright]) {
    const { data, size, affine } = await jacobian(await gpu(), fieldOf(grid, linear(A)));
    assert.equal([size, affine], [grid.size, grid.affine]);
    assert.ok(data.every((value) => Math.abs(value - det) < 1e-5));
  }
});

test('jacobian: more voxels than one slab holds, without a seam', async () => {
  const { data } = await jacobian(
    await gpu(),
    fieldOf(wide, ([x, y, z]) => [x, y, z + 0.01 * z * z]),
  );
  const slice = 1024 * 1030;
  for (let k = 1; k < 7; k++) {
    const z = applyAffine(wide.affine, [0, 0, k])[2];
    const found = data[k * slice + 515 * 1024 + 512];
    assert.ok(Math.abs(found - (1 + 0.02 * z)) < 5e-3, `slice ${k}: ${found}`);
  }
});

test('jacobian: its statistics are those computed on the CPU', async () => {
  const { fixed, displacement } = phantom('brain', [24, 20, 28], 4);
  const { data } = await jacobian(await gpu(), { ...fixed, data: toPhysical(displacement, fixed) });
  const [a, { grid: b }] = [determinantStats(data), jacobianStats(displacement, fixed.size)];
  for (const key of ['foldingPercent', 'sdLogJ', 'sdLogJLearn2Reg', 'minJ', 'maxJ'] as const)
    assert.ok(Math.abs(a[key] - b[key]) < 1e-5, key);
  assert.ok(a.minJ < 0.9 && a.maxJ > 1.1 && a.maxJ === data.reduce((x, y) => Math.max(x, y)));
});

test('composeFields: first(second(x)), in that order, with the fields on different grids', async () => {
  const first = fieldOf(oblique, linear(A)),
    second = fieldOf(upright, linear(B));
  const both = await composeFields(await gpu(), first, second);
  assert.equal([both.size, both.affine], [upright.size, upright.affine]);
  const reached = inside(oblique);
  assert.ok(farthest(both, fieldOf(upright, linear(composeAffine(A, B))), (x) => reached(applyAffine(B, x))) < 1e-4);
  assert.ok(
    farthest(both, fieldOf(upright, linear(composeAffine(B, A))), (x) => reached(applyAffine(B, x))) > 0.1,
    'the other order differs',
  );
});

test('invert: an affine map, on its own grid and on another', async () => {
  const field = fieldOf(oblique, linear(A));
  const inverseMap = linear(invertAffine(A)),
    reached = inside(oblique);
  for (const grid of [oblique, upright]) {
    const { field: inverse, outcome } = await invert(await gpu(), field, { grid, tolerance: 1e-3 });
    assert.ok(outcome.unsolvedPercent < (grid === oblique ? 8 : 1), JSON.stringify(outcome));
    assert.equal([inverse.size, inverse.affine], [grid.size, grid.affine]);
    assert.ok(outcome.voxels.mean <= outcome.voxels.rms && outcome.voxels.rms <= outcome.voxels.max && outcome.voxels.rms < 5e-3);
    assert.ok(farthest(inverse, fieldOf(grid, inverseMap), (y) => reached(inverseMap(y))) < 0.02, `${grid.size}`);
  }
});

test('invert: a smooth map and its inverse compose to nothing, and the residual is what it says', async () => {
  const { fixed, displacement } = phantom('brain', [40, 48, 56], 2);
  const u = { size: fixed.size, affine: fixed.affine, data: toPhysical(displacement, fixed) };
  const g = await gpu();
  g.ledger.reset();
  const { field: v, outcome } = await invert(g, u);
  assert.equal(g.ledger.peak, planInverse(u, u).peak);
  assert.is(outcome.unsolvedPercent, 0);
  assert.ok(outcome.voxels.max <= 0.005, JSON.stringify(outcome));
  const { data } = await composeFields(await gpu(), u, v);
  const n = data.length / 3;
  const lengths = Float64Array.from({ length: n }, (_, p) => Math.hypot(data[p], data[n + p], data[2 * n + p]));
  assert.ok(Math.abs(lengths.reduce((a, b) => a + b) / n - outcome.mm.mean) < 1e-4);
  assert.ok(Math.abs(lengths.reduce((a, b) => Math.max(a, b)) - outcome.mm.max) < 1e-4);
  assert.ok(Math.abs(outcome.mm.mean / outcome.voxels.mean - 4) < 1e-3, 'voxels of 4 mm');
});

test('invert: a smooth map behind a turn of 115°, onto the grid that is turned too', async () => {
  const [c, s] = [Math.cos((115 * Math.PI) / 180), Math.sin((115 * Math.PI) / 180)];
  const turn: Affine = [c, -s, 0, 12, s, c, 0, -7, 0, 0, 1, 5];
  const bend = ([x, y, z]: Vec3): Vec3 => [x + 1.5 * Math.sin(y / 6), y + Math.cos(z / 7), z + 1.2 * Math.sin(x / 5)];
  const field = fieldOf(upright, (point) => applyAffine(turn, bend(point)));
  const grid = { size: upright.size, affine: composeAffine(turn, upright.affine) };
  const { field: inverse, outcome } = await invert(await gpu(), field, { grid, tolerance: 1e-4 });
  assert.is(outcome.unsolvedPercent, 0);
  assert.ok(outcome.voxels.max < 0.01, JSON.stringify(outcome));
  const { mean, max } = outcome.mm; // mm of unequal spacings, however much of the map is taken out as its affine part
  const spacing = voxelSpacing(grid.affine);
  const [least, most] = [Math.min(...spacing), Math.max(...spacing)];
  for (const [mm, voxels] of [
    [mean, outcome.voxels.mean],
    [max, outcome.voxels.max],
  ] as const)
    assert.ok(mm >= 0.99 * least * voxels && mm <= 1.01 * most * voxels, JSON.stringify([outcome, spacing]));
  const there = await composeFields(await gpu(), field, inverse);
  assert.ok(
    farthest(
      there,
      fieldOf(grid, (point) => point),
      inside(grid, 2),
    ) < 0.02,
  );
});

test('the affine part of a field is found however its voxels are ordered', () => {
  const [c, s] = [Math.cos(2.6), Math.sin(2.6)];
  const turn: Affine = [1, 0, 0, 3, 0, c, -s, 12, 0, s, c, -7];
  const grid = gridAround(
    [9, 320, 320],
    [
      [8, 0, 0],
      [0, 0.75, 0],
      [0, 0, 0.75],
    ],
    [0, 0, 0],
  );
  const found = nearestAffine(fieldOf(grid, linear(turn)));
  found.forEach((x, n) => assert.ok(Math.abs(x - turn[n]) < 1e-3, `${found}`));
});

test('invert: more voxels than one slab holds', async () => {
  const map = ([x, y, z]: Vec3): Vec3 => [x + 0.5, y - 1, z + 0.01 * z];
  const { field, outcome } = await invert(await gpu(), fieldOf(oblique, map), { grid: wide });
  assert.is(outcome.unsolvedPercent, 0);
  assert.ok(
    farthest(
      field,
      fieldOf(wide, ([x, y, z]) => [x - 0.5, y + 1, z / 1.01]),
    ) < 0.01,
  );
});

test('invert: a field that brings a stretch between voxels to one place, where Newton has no step', async () => {
  const row = [0, -1.5, 0.25, -0.75, 0, 0, 0, 0]; // from 2 to 3 voxels the slope is −1
  const grid = { size: [8, 3, 3] as Vec3, affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] };
  const { field, outcome } = await invert(
    await gpu(),
    fieldOf(grid, ([x, y, z]) => [x + row[Math.round(x)], y, z]),
  );
  assert.is(outcome.unsolvedPercent, 0);
  assert.ok(Math.abs(field.data[1] + 6 / 11) < 0.005, `${field.data[1]}`);
});

test('invert: where a map folds, one of the points that lead there; and what is unsolved is told', async () => {
  const folded = fieldOf(
    gridAround(
      [20, 20, 20],
      [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
      ],
      [0, 0, 0],
    ),
    ([x, y, z]) => [x - 6 * Math.sin(x / 2), y, z],
  );
  const { field: back, outcome } = await invert(await gpu(), folded, { tolerance: 1e-3 });
  assert.ok(outcome.unsolvedPercent < 5, JSON.stringify(outcome));
  const left = await composeFields(await gpu(), folded, back);
  const solved = Array.from({ length: 8000 }, (_, p) => Number(Math.abs(left.data[p]) <= 1.1e-3)).reduce((a, b) => a + b);
  assert.ok(Math.abs(100 - solved / 80 - outcome.unsolvedPercent) < 0.1, `${solved} of 8000 voxels are solved`);
  const early = (await invert(await gpu(), folded, { maxIterations: 1 })).outcome;
  assert.ok(early.unsolvedPercent > outcome.unsolvedPercent + 5 && early.voxels.mean > 0.1, JSON.stringify(early));
  const point = await invert(
    await gpu(),
    fieldOf(upright, () => [4, -2, 7]),
  ); // everything to one place
  assert.ok(point.outcome.unsolvedPercent > 40 && point.outcome.voxels.mean > 0.4, JSON.stringify(point.outcome));
});

test('fields that do not meet, and options out of range, are refused', async () => {
  const away = { ...upright, affine: upright.affine.map((value, n) => (n === 3 ? value + 500 : value)) };
  const field = fieldOf(oblique, linear(A)),
    g = await gpu();
  assert.match(
    await messageOf(() =>
      composeFields(
        g,
        field,
        fieldOf(away, (x) => x),
      ),
    ),
    /leads elsewhere: 0 % of its grid/,
  );
  assert.match(await messageOf(() => invert(g, field, { grid: away })), /leads elsewhere: 0 %/);
  assert.match(await messageOf(() => invert(g, field, { tolerance: NaN })), /tolerance must be .* ≥ 0, got NaN/);
  assert.match(await messageOf(() => invert(g, field, { maxIterations: 0 })), /maxIterations must be a whole number above 0/);
  const there = await composeFields(
    g,
    field,
    fieldOf(away, ([x, y, z]) => [x - 500, y, z]),
  ); // the grids do not overlap, the points do
  assert.ok(
    farthest(
      there,
      fieldOf(away, ([x, y, z]) => applyAffine(A, [x - 500, y, z])),
      ([x, y, z]) => inside(oblique)([x - 500, y, z]),
    ) < 1e-3,
  );
});

test('forms of a displacement: encoded and parsed back, and refused under another name', async () => {
  const field = fieldOf(oblique, linear(A));
  const forms = ['itk', 'learn2reg', 'ras'] as const;
  for (const form of forms) {
    const bytes = encodeDisplacement({ ...field, data: convertDisplacement(field.data, field, 'itk', form) }, form).buffer as ArrayBuffer;
    const back = parseDisplacement('d.nii', bytes, undefined, form);
    const physical = convertDisplacement(back.data, back, form, 'itk');
    assert.equal(back.size, field.size);
    assert.ok(physical.every((value, n) => Math.abs(value - field.data[n]) < 1e-4));
    for (const other of forms.filter((o) => o !== form)) {
      assert.match(
        await messageOf(() => parseDisplacement('d.nii', bytes, undefined, other)),
        new RegExp(`^d.nii: not a displacement field: .*; expected W×H×D.*; this is the form ${form}, `),
      );
    }
  }
  const n = field.data.length / 3;
  convertDisplacement(field.data, field, 'itk', 'ras').forEach((value, at) =>
    assert.is(value, at < 2 * n ? -field.data[at] : field.data[at]),
  );
  const voxels = fromPhysical(field.data, field);
  assert.equal(convertDisplacement(voxels, field, 'learn2reg', 'ras'), convertDisplacement(toPhysical(voxels, field), field, 'itk', 'ras'));
});

test.run();
