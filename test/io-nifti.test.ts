import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseDisplacement, parseNifti } from '../src/io/nifti.ts';
import { checkFinite, checkNotConstant } from '../src/io/volume.ts';
import { DTYPES, makeNifti, messageOf, random, type MakeNifti, type TestDtype } from './io-make-nifti.ts';

const near = (actual: readonly number[], expected: readonly number[], tolerance = 1e-6) => {
  assert.is(actual.length, expected.length);
  const close = expected.every((value, n) => Math.abs(actual[n] - value) <= tolerance);
  assert.ok(close, `[${actual.join(', ')}] is not [${expected.join(', ')}]`);
};
const parse = (options: MakeNifti) => {
  const { header, image } = makeNifti(options);
  return parseNifti('x.nii', header, image);
};

const EXTREMES: Record<TestDtype, readonly (number | bigint)[]> = {
  uint8: [0, 1, 255],
  int8: [-128, -1, 127],
  int16: [-32768, -1, 32767],
  uint16: [0, 40000, 65535],
  int32: [-(2 ** 31), -5, 2 ** 31 - 1],
  uint32: [0, 3e9, 2 ** 32 - 1],
  float32: [-1.5e-38, 0.1, 3.4e38],
  float64: [-1e-30, 0.1, 1e38],
  int64: [-(2n ** 63n), -3n, 2n ** 40n + 5n],
  uint64: [7n, 2n ** 63n + 2n ** 50n, 2n ** 64n - 1n],
};

test('every datatype, byte order, version and layout gives its values', () => {
  let cases = 0;
  for (const dtype of Object.keys(DTYPES) as TestDtype[]) {
    const values = [...EXTREMES[dtype], 2, 3, 5, 7, 11, 13, 17, 19, 23];
    for (const little of [true, false])
      for (const version of [1, 2] as const)
        for (const pair of [false, true]) {
          const volume = parse({ dtype, little, version, pair, dim: [3, 2, 2], values });
          assert.equal(volume.size, [3, 2, 2]);
          assert.is(volume.dtype, dtype);
          const expected = values.map((value) => Math.fround(Number(value)));
          assert.equal([...volume.data], expected, `${dtype} little ${little} NIfTI-${version} pair ${pair}`);
          cases++;
        }
  }
  assert.is(cases, 80);
});

test('voxels may start at any byte, and trailing bytes and dimensions of one are allowed', () => {
  for (const dtype of ['int16', 'float32', 'float64'] as const) {
    assert.equal(
      [...parse({ dtype, offset: 353 }).data],
      [...Array(12).keys()].map((n) => n + 1),
    );
  }
  const { header } = makeNifti({ dim: [3, 2, 2, 1, 1], dtype: 'int16' });
  const longer = new Uint8Array(header.byteLength + 5);
  longer.set(new Uint8Array(header));
  const volume = parseNifti('x.nii', longer.buffer);
  assert.equal([volume.size, volume.data.length, volume.data[11]], [[3, 2, 2], 12, 12]);
});

test('dimensions beyond dim[0] and a wrong bitpix are ignored', () => {
  const { header } = makeNifti({ dim: [3, 2, 2, 9], dim0: 3, values: [...Array(12).keys()] });
  new DataView(header).setInt16(72, 77, true);
  assert.equal([...parseNifti('x.nii', header).data], [...Array(12).keys()]);
});

test('scl_slope and scl_inter apply only when the slope is finite and not zero', () => {
  const first = (slope: number, inter: number, dtype: TestDtype = 'int16') => parse({ slope, inter, dtype }).data[1]; // stored 2
  assert.is(first(2, -3), 1);
  assert.is(first(1, 5), 7);
  assert.is(first(-0.5, 0, 'float32'), -1);
  assert.is(first(0, 5), 2);
  assert.is(first(NaN, 5), 2);
  assert.is(first(Infinity, 5), 2);
  assert.is(first(NaN, NaN, 'float32'), 2);
});

test('scaling does not write into the bytes it was given', () => {
  const { header } = makeNifti({ dtype: 'float32', slope: 3 });
  const before = new Uint8Array(header.slice(0));
  parseNifti('x.nii', header);
  assert.equal(new Uint8Array(header), before);
});

const SFORM = [-2, 0, 0, 10, 0, 0, 3, -20, 0, -4, 0, 30];
const TURN = { code: 1, b: 0, c: 0, d: Math.SQRT1_2, x: 5, y: 6, z: 7 }; // 90° about z: i → +y, j → −x

test('the sform goes before the qform, whatever their codes, and the qform before the voxel sizes', () => {
  for (const version of [1, 2] as const) {
    for (const qcode of [0, 1, 2, 4]) {
      near(parse({ version, sform: { code: 1, rows: SFORM }, qform: { ...TURN, code: qcode } }).affine, SFORM);
    }
    const none = { code: 0, rows: SFORM };
    near(parse({ version, sform: none, qform: TURN, pixdim: [1, 2, 3, 4] }).affine, [0, -3, 0, 5, 2, 0, 0, 6, 0, 0, 4, 7]);
    near(parse({ version, sform: none, qform: TURN, pixdim: [-1, 2, 3, 4] }).affine, [0, -3, 0, 5, 2, 0, 0, 6, 0, 0, -4, 7]);
    near(parse({ version, sform: none, qform: TURN, pixdim: [-7, 2, 3, 4] }).affine, [0, -3, 0, 5, 2, 0, 0, 6, 0, 0, -4, 7]);
    near(parse({ version, sform: none, qform: TURN, pixdim: [0, 2, 3, 4] }).affine, [0, -3, 0, 5, 2, 0, 0, 6, 0, 0, 4, 7]);
    near(parse({ version, sform: none, pixdim: [-1, 2, 3, 4] }).affine, [2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0]);
  }
});

test('a half turn whose rounded quaternion is a little longer than 1 is a rotation', () => {
  const half = Math.fround(Math.SQRT1_2) + 1e-7;
  const { affine } = parse({ sform: { code: 0, rows: SFORM }, qform: { code: 1, b: half, c: half, d: 0, x: 0, y: 0, z: 0 } });
  near(affine, [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, -1, 0], 1e-3);
});

test('metres and microns become millimetres', () => {
  const scaled = (mm: number) => SFORM.map((value) => value * mm);
  near(parse({ units: 1, sform: { code: 1, rows: SFORM } }).affine, scaled(1000));
  near(parse({ units: 3 + 8, sform: { code: 1, rows: SFORM } }).affine, scaled(0.001), 1e-9);
  near(parse({ units: 0, sform: { code: 1, rows: SFORM } }).affine, SFORM);
});

test('two headers of one place are compared in millimetres; half a voxel of the finest axis apart, or sheared anywhere, is told', () => {
  const same = [0, -3, 0, 5, 2, 0, 0, 6, 0, 0, 4, 7];
  const both = (rows: number[], more: MakeNifti = {}) =>
    parse({ sform: { code: 1, rows }, qform: TURN, pixdim: [1, 2, 3, 4], ...more }).doubt;
  assert.is(both(same), undefined);
  for (const units of [1, 3]) assert.is(both(same, { units }), undefined);
  assert.match(both(same.with(3, 7))!, /sform/); // 2 mm along x
  const thick = [0, -1, 0, 5, 1, 0, 0, 6, 0, 0, 8, 7];
  const pixdim = [1, 1, 1, 8];
  assert.is(both(thick.with(3, 5.3), { pixdim }), undefined);
  assert.match(both(thick.with(3, 7), { pixdim })!, /sform/);
  for (const place of [1, 2, 6]) {
    const sheared = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0].with(place, 0.2);
    assert.match(parse({ sform: { code: 1, rows: sheared } }).doubt!, /not at right angles/, `element ${place}`);
  }
});

test('scl_slope and scl_inter apply to every type', () => {
  for (const dtype of Object.keys(DTYPES) as (keyof typeof DTYPES)[]) {
    const values = /64/.test(dtype) && dtype !== 'float64' ? [1n, 2n, 3n, 4n] : [1, 2, 3, 4];
    assert.equal([...parse({ dtype, dim: [2, 2, 1], values, slope: 0.5, inter: 10 }).data], [10.5, 11, 11.5, 12], dtype);
  }
});

test('a frame of a 4-D image, of every type and byte order; none beyond the last, none of vectors', async () => {
  for (const dtype of ['uint8', 'int16', 'float32', 'int64'] as const)
    for (const little of [true, false])
      for (const pair of [true, false]) {
        const values = Array.from({ length: 3 * 2 * 2 * 5 }, (_, n) => (dtype === 'int64' ? BigInt(n) : n));
        const { header, image } = makeNifti({ dtype, little, pair, dim: [3, 2, 2, 5], values, slope: 2, inter: 1 });
        for (const frame of [0, 1, 4]) {
          const { size, data } = parseNifti('x', header, image, frame);
          assert.equal([size, [...data]], [[3, 2, 2], Array.from({ length: 12 }, (_, n) => 2 * (12 * frame + n) + 1)]);
        }
      }
  const of = (options: MakeNifti, frame: number) => {
    const { header, image } = makeNifti(options);
    return messageOf(() => parseNifti('x.nii', header, image, frame));
  };
  for (const frame of [5, -1, 0.5])
    assert.match(await of({ dim: [3, 2, 2, 5] }, frame), /^x\.nii: there is no frame .*: the image has 5, counted from 0$/);
  assert.match(await of({ dim: [3, 2, 2] }, 1), /there is no frame 1: the image has 1,/);
  assert.equal([...parseNifti('x', makeNifti({ dim: [3, 2, 2] }).header, undefined, 0).size], [3, 2, 2]);
  assert.match(await of({ dim: [3, 2, 2, 1, 3], intent: 1007, dtype: 'float32' }, 0), /vector field/);
});

const REFUSED: [what: string, options: MakeNifti, message: RegExp][] = [
  [
    'four dimensions',
    { dim: [3, 2, 2, 4] },
    /^x\.nii: 4-D volume \(4 frames of 3×2×2\); one of them is needed: a path takes the first as x\.nii\[0\]$/,
  ],
  ['two dimensions', { dim: [3, 2] }, /2-D image \(3×2\); a 3-D volume is needed/],
  ['vectors', { dim: [3, 2, 2, 1, 3], intent: 1007, dtype: 'float32' }, /vector field \(3×2×2×1×3, intent 1007\), not an image/],
  ['RGB', { datatype: 128 }, /RGB voxels are not supported/],
  ['RGBA', { datatype: 2304 }, /RGBA voxels are not supported/],
  ['complex', { datatype: 32 }, /complex64 voxels are not supported/],
  ['unknown type', { datatype: 3 }, /unknown datatype code 3/],
  ['dim[0] = 0', { dim0: 0 }, /dim\[0\] = 0/],
  ['dim[0] = 8', { dim0: 8 }, /dim\[0\] = 8/],
  ['dim[0] < 0', { dim0: -1 }, /dim\[0\] = -1/],
  ['zero extent', { dim: [3, 0, 2], values: [1] }, /3×0×2 are not all positive/],
  ['negative extent', { dim: [3, -2, -2], values: [1] }, /3×-2×-2 are not all positive/],
  ['huge product', { dim: [32767, 32767, 32767], values: [1] }, /voxels; at most 2147483648 are supported/],
  ['infinite product', { version: 2, dim: [2 ** 62, 2 ** 62, 2 ** 62], values: [1] }, /at most 2147483648/],
  ['fewer bytes', { dim: [30, 20, 10], dtype: 'int16', values: [1, 2] }, /truncated: 4 of 12000 .*\(30×20×10 int16 from byte 352 on\)/],
  ['vox_offset in the header', { declared: 100 }, /vox_offset = 100/],
  ['vox_offset of 0', { declared: 0 }, /vox_offset = 0/],
  ['fractional vox_offset', { declared: 352.5 }, /vox_offset = 352\.5/],
  ['vox_offset beyond the file', { version: 2, declared: 2 ** 50 }, /truncated: 0 of 12 bytes/],
  ['scl_inter', { slope: 2, inter: NaN }, /scl_inter = NaN/],
  ['sform of zeros', { sform: { code: 1, rows: Array(12).fill(0) } }, /sform: affine is singular/],
  ['sform of rank 2', { sform: { code: 1, rows: [1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] } }, /sform: affine is singular/],
  ['sform with NaN', { sform: { code: 1, rows: [NaN, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] } }, /sform: affine is not 12 finite numbers/],
  ['qform offset', { sform: { code: 0, rows: SFORM }, qform: { ...TURN, x: Infinity } }, /qform: affine is not 12 finite numbers/],
  ['quaternion', { sform: { code: 0, rows: SFORM }, qform: { ...TURN, b: 2 } }, /quaternion 2, 0, 0.7\d+ is longer than 1/],
  ['quaternion of NaN', { sform: { code: 0, rows: SFORM }, qform: { ...TURN, b: NaN } }, /quaternion NaN/],
  ['pixdim 0', { sform: { code: 0, rows: SFORM }, pixdim: [1, 1, 0, 1] }, /pixdim = 1, 0, 1 is not positive and finite/],
  ['pixdim < 0', { sform: { code: 0, rows: SFORM }, qform: TURN, pixdim: [1, 1, -2, 1] }, /pixdim = 1, -2, 1/],
  ['pixdim NaN', { sform: { code: 0, rows: SFORM }, pixdim: [1, NaN, 1, 1] }, /pixdim = NaN, 1, 1/],
];

for (const [what, options, message] of REFUSED) {
  test(`refused: ${what}`, async () => {
    const made = makeNifti(options);
    const text = await messageOf(() => parseNifti('x.nii', made.header, made.image));
    assert.match(text, message);
    assert.ok(text.startsWith('x.nii: '));
    assert.not.match(text, /\n/);
  });
}

test('what is no NIfTI is refused', async () => {
  const of = (bytes: Uint8Array) => messageOf(() => parseNifti('a/b.nii', bytes.slice().buffer));
  assert.match(await of(new Uint8Array(0)), /^a\/b\.nii: empty file$/);
  assert.match(await of(new Uint8Array(100)), /^a\/b\.nii: not a NIfTI file: 100 bytes/);
  assert.match(await of(new Uint8Array(1000)), /^a\/b\.nii: not a NIfTI file \(its header lacks the mark/);
  const starting = (at: number, ...start: (string | number)[]) => {
    const bytes = new Uint8Array(1000);
    bytes.set(
      start.flatMap((part) => (typeof part === 'string' ? [...part].map((letter) => letter.charCodeAt(0)) : [part])),
      at,
    );
    return bytes;
  };
  for (const [bytes, format] of [
    [starting(128, 'DICM'), 'DICOM: dcm2niix'],
    [starting(0, 'NRRD0004'), 'NRRD'],
    [starting(0, 'ObjectType = Image'), 'MetaImage'],
    [starting(0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1), 'FreeSurfer’s MGH: mri_convert'],
    [starting(0, 0x89, 'HDF'), 'HDF5'],
  ] as const)
    assert.match(await of(bytes), new RegExp(`^a/b\\.nii: not a NIfTI file but ${format}`));
  const wrongSize = new Uint8Array(makeNifti().header);
  wrongSize[0] = 1;
  assert.match(await of(wrongSize), /^a\/b\.nii: not a NIfTI file: sizeof_hdr = \d+, expected 348/);
});

test('a pair needs its image, a single file takes none', async () => {
  const { header, image } = makeNifti({ pair: true });
  assert.match(await messageOf(() => parseNifti('x.hdr', header)), /^x\.hdr: header of a \.hdr\/\.img pair; its \.img is needed too/);
  assert.match(await messageOf(() => parseNifti('x.nii', makeNifti().header, image)), /^x\.nii: a single-file NIfTI; it takes no/);
});

test('a file cut at any byte is refused by name', async () => {
  for (const version of [1, 2] as const) {
    const { header } = makeNifti({ version, dim: [5, 4, 3], dtype: 'int16' });
    for (let length = 0; length < header.byteLength; length++) {
      const message = await messageOf(() => parseNifti('cut.nii', header.slice(0, length)));
      assert.match(message, /^cut\.nii: (empty|not a NIfTI|truncated)/, `${length}`);
    }
    assert.is(parseNifti('cut.nii', header).data[59], 60);
  }
});

test('extensions are skipped, also those with sizes that lead nowhere', () => {
  const values = [...Array(12).keys()];
  for (const size of [32, -16, 0, 7, 2 ** 31 - 1]) {
    for (const version of [1, 2] as const) {
      const start = version === 1 ? 352 : 544;
      const { header } = makeNifti({ version, offset: start + 32, values, flags: [1, 0, 0, 0] });
      new DataView(header).setInt32(start, size, true);
      new DataView(header).setInt32(start - 16, 16, true); // with −16, a walk that never ends
      new DataView(header).setInt32(start - 4, 1, true);
      if (version === 1) [...'n+1\0'].forEach((c, n) => new DataView(header).setUint8(344 + n, c.charCodeAt(0)));
      assert.equal([...parseNifti('x.nii', header).data], values);
    }
  }
});

test('fuzz: 1000 damaged headers give a volume, or an Error with the file name', () => {
  const next = random(20240607);
  const variants = ([1, 2] as const).flatMap((version) => [true, false].map((little) => ({ version, little, dtype: 'int16' as const })));
  let thrown = 0,
    parsed = 0;
  for (let round = 0; round < 1000; round++) {
    const { header } = makeNifti({ ...variants[round % 4], dim: [6, 5, 4], qform: TURN, flags: [round & 1, 0, 0, 0] });
    const view = new DataView(header);
    const fields = variants[round % 4].version === 1 ? 348 : 540;
    for (let hits = 1 + Math.floor(next() * 6); hits > 0; hits--) {
      view.setUint8(Math.floor(next() * fields), next() < 0.3 ? [0, 1, 127, 128, 255][Math.floor(next() * 5)] : Math.floor(next() * 256));
    }
    const bytes = next() < 0.1 ? header.slice(0, Math.floor(next() * header.byteLength)) : header;
    try {
      const {
        size: [w, h, d],
        data,
        affine,
      } = parseNifti('fuzz.nii', bytes);
      assert.ok(data.length === w * h * d && data.length * 1 <= bytes.byteLength && affine.every(Number.isFinite));
      parsed++;
    } catch (error) {
      assert.instance(error, Error);
      assert.ok((error as Error).message.startsWith('fuzz.nii: '), `round ${round}: ${(error as Error).stack}`);
      thrown++;
    }
  }
  assert.is(thrown + parsed, 1000);
  assert.ok(thrown > 200 && parsed > 200, `${thrown} thrown, ${parsed} parsed`);
});

test('displacement files: 5-D, three vectors, intent 1007; anything else is refused', async () => {
  const field: MakeNifti = { dim: [3, 2, 2, 1, 3], intent: 1007, dtype: 'float64', little: false, version: 2 };
  const { size, data } = parseDisplacement('u.nii', makeNifti(field).header);
  assert.equal([size, [...data]], [[3, 2, 2], [...Array(36).keys()].map((n) => n + 1)]);
  const dims = [
    [3, 2, 2, 3],
    [3, 2, 2],
    [3, 2, 2, 1, 2],
    [3, 2, 2, 2, 3],
  ];
  for (const wrong of [{ intent: 0 }, { intent: 1006 }, ...dims.map((dim) => ({ dim }))]) {
    assert.match(
      await messageOf(() => parseDisplacement('u.nii', makeNifti({ ...field, ...wrong }).header)),
      /^u\.nii: not a displacement field: dimensions 3×2×2.*expected W×H×D×1×3, intent 1007/,
    );
  }
});

test('checkFinite counts, checkNotConstant refuses one value', async () => {
  const volume = parse({ dtype: 'float32', values: [NaN, Infinity, -Infinity, 1, 2, 3, 4, 5, 6, 7, 8, 9] });
  assert.match(await messageOf(() => checkFinite('a.nii', volume)), /^a\.nii: 3 of 12 voxels are NaN or infinite/);
  checkFinite('a.nii', parse({}));
  const flat = parse({ values: Array(12).fill(4) });
  assert.match(await messageOf(() => checkNotConstant('a.nii', flat)), /^a\.nii: all 12 voxels have the value 4/);
  checkNotConstant('a.nii', parse({ values: [...Array(11).fill(4), 5] }));
});

test.run();
