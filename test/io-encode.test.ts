import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { composeAffine, type Affine } from '../src/io/affine.ts';
import {
  encodeDisplacement,
  encodeNifti,
  parseDisplacement,
  parseNifti,
  type DisplacementField,
  type NiftiImage,
} from '../src/io/nifti.ts';
import { messageOf, random } from './io-make-nifti.ts';

const AFFINE: Affine = [-2, 0, 0, 10, 0, 0, 3, -20, 0, -4, 0, 30];
const bufferOf = (bytes: Uint8Array) => bytes.slice().buffer;
const view = (bytes: Uint8Array) => new DataView(bytes.buffer);

test('encodeNifti and parseNifti are inverse for every datatype', () => {
  const values: Record<NiftiImage['dtype'], number[]> = {
    float32: [-0.1, 3e38, 1e-30],
    uint8: [0, 255, 7],
    int16: [-32768, 32767, -1],
    uint16: [0, 65535, 9],
    int32: [-(2 ** 31), 2 ** 30, 12],
  };
  for (const [dtype, three] of Object.entries(values) as [NiftiImage['dtype'], number[]][]) {
    const data = Float32Array.from([...three, 1, 2, 3]);
    const bytes = encodeNifti({ size: [3, 2, 1], affine: AFFINE, data, dtype });
    assert.equal(parseNifti('x.nii', bufferOf(bytes)), { size: [3, 2, 1], affine: AFFINE, data, dtype });
  }
});

test('the header has the fields that readers check', () => {
  const bytes = encodeNifti({ size: [3, 2, 1], affine: AFFINE, data: new Float32Array(6), dtype: 'int16', description: 'é'.repeat(100) });
  const v = view(bytes);
  const shorts = (at: number, n: number) => Array.from({ length: n }, (_, i) => v.getInt16(at + 2 * i, true));
  const floats = (at: number, n: number) => Array.from({ length: n }, (_, i) => v.getFloat32(at + 4 * i, true));
  assert.is(bytes.length, 352 + 12);
  assert.is(v.getInt32(0, true), 348);
  assert.equal(shorts(40, 8), [3, 3, 2, 1, 1, 1, 1, 1]);
  assert.equal(shorts(68, 3), [0, 4, 16]);
  assert.equal(floats(76, 4), [-1, 2, 4, 3]);
  assert.equal(floats(108, 3), [352, 1, 0]);
  assert.is(v.getUint8(123), 2);
  assert.equal(shorts(252, 2), [1, 1]);
  assert.equal(floats(280, 12), [...AFFINE]);
  assert.equal([...bytes.subarray(344, 352)], [0x6e, 0x2b, 0x31, 0, 0, 0, 0, 0]);
  assert.ok(bytes.subarray(148, 228).some((byte) => byte) && bytes.subarray(227, 252).every((byte) => byte === 0));
});

test('the space of the millimetres is the code of both forms, and is read from the one that counts', async () => {
  const image = { size: [3, 2, 1] as [number, number, number], affine: AFFINE, data: new Float32Array(6), dtype: 'uint8' as const };
  for (const space of [undefined, 1, 4]) {
    const bytes = encodeNifti({ ...image, space });
    assert.equal([view(bytes).getInt16(252, true), view(bytes).getInt16(254, true)], [space ?? 1, space ?? 1]);
    assert.is(parseNifti('x.nii', bytes).space, space === 4 ? 4 : undefined);
  }
  const both = encodeNifti({ ...image, space: 4 });
  view(both).setInt16(252, 2, true);
  assert.is(parseNifti('x.nii', both).space, 4, 'the sform counts');
  view(both).setInt16(254, 0, true);
  assert.is(parseNifti('x.nii', both).space, 2, 'where there is one');
  for (const space of [0, 1.5, 40000])
    assert.is(
      await messageOf(() => encodeNifti({ ...image, space })),
      `space must be a code of NIfTI, 1 for the scanner's to 5, got ${space}`,
    );
});

test('a displacement field has the form of ITK', () => {
  const data = Float32Array.from({ length: 3 * 24 }, (_, n) => Math.fround(n / 7));
  const bytes = encodeDisplacement({ size: [4, 3, 2], affine: AFFINE, data });
  const v = view(bytes);
  assert.equal(
    Array.from({ length: 8 }, (_, i) => v.getInt16(40 + 2 * i, true)),
    [5, 4, 3, 2, 1, 3, 1, 1],
  );
  assert.equal([v.getInt16(68, true), v.getInt16(70, true)], [1007, 16]);
  assert.is(v.getFloat32(352 + 4 * 24, true), data[24]);
  assert.equal(parseDisplacement('u.nii', bufferOf(bytes)), { size: [4, 3, 2], affine: AFFINE, data });
});

/** The rotation by `angle` about the unit axis (x, y, z); Rodrigues. */
function rotation([x, y, z]: number[], angle: number): Affine {
  const c = Math.cos(angle),
    s = Math.sin(angle),
    t = 1 - c;
  return [
    t * x * x + c,
    t * x * y - s * z,
    t * x * z + s * y,
    0,
    t * x * y + s * z,
    t * y * y + c,
    t * y * z - s * x,
    0,
    t * x * z - s * y,
    t * y * z + s * x,
    t * z * z + c,
    0,
  ];
}

test('the qform says what the sform says, for rotations of every kind and both handednesses', () => {
  const next = random(7);
  const angles = [0, 0.3, Math.PI / 2, (2 * Math.PI) / 3, 3, Math.PI];
  const axes = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [Math.SQRT1_2, Math.SQRT1_2, 0], [1, 1, 1].map((v) => v / Math.sqrt(3)), [0.6, 0, -0.8]];
  let cases = 0;
  for (const axis of axes)
    for (const angle of angles)
      for (const hand of [1, -1]) {
        const [si, sj, sk] = [0.5 + next(), 0.5 + 2 * next(), 0.5 + 7 * next()];
        const affine = [...composeAffine(rotation(axis, angle), [si, 0, 0, 0, 0, sj, 0, 0, 0, 0, hand * sk, 0])];
        [affine[3], affine[7], affine[11]] = [next() * 100, -next() * 100, next()];
        const bytes = encodeNifti({ size: [1, 1, 1], affine, data: [1], dtype: 'uint8' });
        assert.is(view(bytes).getInt16(252, true), 1);
        view(bytes).setInt16(254, 0, true); // no sform: the parser takes the qform
        const { affine: qform } = parseNifti('q.nii', bufferOf(bytes));
        assert.ok(
          affine.every((value, n) => Math.abs(value - qform[n]) < 3e-3),
          `[${affine.join(', ')}] against [${qform.join(', ')}]`,
        );
        cases++;
      }
  assert.is(cases, 72);
});

test('a sheared grid keeps its sform and gets no qform', () => {
  const affine = [1, 0.2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
  const bytes = encodeNifti({ size: [1, 1, 1], affine, data: [1], dtype: 'uint8' });
  assert.equal([view(bytes).getInt16(252, true), view(bytes).getInt16(254, true)], [0, 1]);
  assert.equal(parseNifti('x.nii', bufferOf(bytes)).affine, affine.map(Math.fround));
});

test('integers are rounded, and refused when they do not fit', async () => {
  const encode = (value: number, dtype: NiftiImage['dtype']) => encodeNifti({ size: [1, 1, 1], affine: AFFINE, data: [value], dtype });
  assert.is(view(encode(-12.6, 'int16')).getInt16(352, true), -13);
  assert.is(view(encode(-0.2, 'uint8')).getUint8(352), 0);
  assert.match(await messageOf(() => encode(255.6, 'uint8')), /value 255\.6.* at voxel 0 does not fit uint8/);
  assert.match(await messageOf(() => encode(-1, 'uint16')), /does not fit uint16/);
  assert.match(await messageOf(() => encode(NaN, 'int32')), /value NaN .* does not fit int32/);
});

test('wrong sizes and singular affines are refused', async () => {
  const field: DisplacementField = { size: [2, 2, 2], affine: AFFINE, data: new Float32Array(8) };
  const image: NiftiImage = { ...field, dtype: 'float32' };
  const long = new Float32Array(40000);
  assert.match(await messageOf(() => encodeNifti({ ...image, data: new Float32Array(7) })), /2×2×2 = 8 values are needed, got 7/);
  assert.match(await messageOf(() => encodeNifti({ ...image, size: [40000, 1, 1], data: long })), /1 to 32767, got 40000×1×1/);
  assert.match(await messageOf(() => encodeNifti({ ...image, affine: Array(12).fill(0) })), /affine/);
  assert.match(await messageOf(() => encodeDisplacement(field)), /2×2×2×1×3 = 24 values are needed, got 8/);
});

test.run();
