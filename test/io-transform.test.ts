// ITK's transform files: those that ITK wrote (test/golden/itk/make.cpp) take points where ITK takes them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Affine, applyAffine, lpsOf } from '../src/io/affine.ts';
import { encodeItkAffine, parseItkAffine } from '../src/io/transform.ts';
import { messageOf } from './io-make-nifti.ts';
import { root } from './root.ts';

const folder = join(root, 'test/golden/itk');
const goldens: { file: string; points: [number[], number[]][] }[] = JSON.parse(readFileSync(join(folder, 'transforms.json'), 'utf8'));
const bytes = (text: string) => new TextEncoder().encode(text);

for (const { file, points } of goldens)
  test(`${file} takes points where ITK takes them`, () => {
    const affine = parseItkAffine(file, readFileSync(join(folder, file)));
    for (const [from, to] of points)
      lpsOf(applyAffine(affine, lpsOf(from))).forEach((x, axis) =>
        assert.ok(Math.abs(x - to[axis]) < 1e-9, `${from} → ${x}, not ${to[axis]}`),
      );
  });

test('a .mat in single precision', () => {
  const variable = (name: string, values: number[]) => {
    const text = bytes(`${name}\0`);
    const head = Uint8Array.from(new Uint8Array(Int32Array.of(10, values.length, 1, 0, text.length).buffer)); // 10: single, little-endian
    return [...head, ...text, ...new Uint8Array(Float32Array.from(values).buffer)];
  };
  const [parameters, centre] = [
    [1, 0, 0, 0, 1, 0, 0, 0, 2, 5, -6, 7.5],
    [0, 0, 4],
  ];
  const file = Uint8Array.from([...variable('AffineTransform_float_3_3', parameters), ...variable('fixed', centre)]);
  const to = lpsOf(applyAffine(parseItkAffine('a.mat', file), lpsOf([1, 2, 3])));
  assert.equal(to, [6, -4, 4 + 2 * (3 - 4) + 7.5]);
});

test('what is written is read again', () => {
  const affine: Affine = [1.02, 0.11, -0.05, 12.5, -0.08, 0.97, 0.14, -7.25, 0.03, -0.12, 1.05, 3.125];
  assert.equal(parseItkAffine('affine.txt', bytes(encodeItkAffine(affine))), affine);
});

const text = (type: string, parameters: string, fixed = '0 0 0') =>
  `#Insight Transform File V1.0\n#Transform 0\nTransform: ${type}\nParameters: ${parameters}\nFixedParameters: ${fixed}\n`;
const IDENTITY = '1 0 0 0 1 0 0 0 1 0 0 0';

for (const [what, content, message] of [
  [
    'a matrix of FLIRT',
    bytes('1 0 0 -2.5\n0 1 0 3\n0 0 1 1e-3\n0 0 0 1\n'),
    /a: no ITK transform but 16 numbers; if they are FLIRT's matrix, c3d_affine_tool/,
  ],
  ['no transform', bytes('1 0 0 0'), /a: no ITK transform: neither its text/],
  ['an empty text', bytes('#Insight Transform File V1.0\n'), /a: no transform in it/],
  [
    'a displacement field',
    bytes(text('DisplacementFieldTransform_double_3_3', '')),
    /holds a DisplacementFieldTransform_double_3_3; only 3-D/,
  ],
  ['a 2-D transform', bytes(text('AffineTransform_double_2_2', '1 0 0 1 0 0')), /holds a AffineTransform_double_2_2/],
  ['a name of Object', bytes(text('toString_double_3_3', IDENTITY)), /holds a toString_double_3_3/],
  ['too few numbers', bytes(text('AffineTransform_double_3_3', '1 0 0 0 1 0 0 0 1')), /needs 12 numbers, got 1 0 0/],
  ['what is no number', bytes(text('AffineTransform_double_3_3', IDENTITY.replace('1', 'x'))), /needs 12 numbers, got NaN/],
  ['half a centre', bytes(text('AffineTransform_double_3_3', IDENTITY, '0 0')), /begin with a centre x y z, got 0 0/],
  ['a singular one', bytes(text('AffineTransform_double_3_3', '1 0 0 0 1 0 0 1 0 0 0 0')), /a: its affine is singular/],
  ['two without an order', bytes(text('AffineTransform_double_3_3', IDENTITY).repeat(2)), /2 transforms that are no CompositeTransform/],
  ['parameters of nothing', bytes('#Insight Transform File V1.0\nParameters: 1\n'), /Parameters before any Transform/],
  ['a .mat cut short', readFileSync(join(folder, 'affine.mat')).subarray(0, 150), /no ITK transform/],
  ['a MATLAB 5 file', bytes(`MATLAB 5.0 MAT-file${' '.repeat(200)}`), /no ITK transform/],
] as const)
  test(`refused: ${what}`, async () => {
    assert.match(await messageOf(() => parseItkAffine('a', content)), message);
  });

test.run();
