import { decode } from 'fast-png';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { applyAffine, type Affine } from '../src/io/affine.ts';
import { grayPng, slicePanel, type PanelRow } from '../src/io/png.ts';
import type { Grid } from '../src/io/volume.ts';

test('grayPng holds its pixels', () => {
  const { width, height, channels, data } = decode(grayPng(3, 2, Uint8Array.of(0, 50, 100, 150, 200, 255)));
  assert.equal([width, height, channels, [...data]], [3, 2, 1, [0, 50, 100, 150, 200, 255]]);
});

/** A scene in RAS mm, brightest at the right, the front and the top, sampled on a grid. */
function scene(size: Grid['size'], affine: Affine): PanelRow {
  const data = new Float32Array(size[0] * size[1] * size[2]);
  data.forEach((_, n) => {
    const [x, y, z] = applyAffine(affine, [n % size[0], Math.floor(n / size[0]) % size[1], Math.floor(n / size[0] / size[1])]);
    data[n] = x + 2 * y + 4 * z;
  });
  return { size, affine, data, window: [-260, 260] };
}

// The same box of 41×61×81 mm around 0: axes right-front-up, and i to the left, j down, k to the front.
const RAS: Grid = { size: [41, 61, 81], affine: [1, 0, 0, -20, 0, 1, 0, -30, 0, 0, 1, -40] };
const LIA: Grid = { size: [41, 81, 61], affine: [-1, 0, 0, 20, 0, 0, 1, -30, 0, -1, 0, 40] };

test('slicePanel is upright, and the same for any order and direction of the voxel axes', () => {
  const [a, b] = [RAS, LIA].map(({ size, affine }) => decode(slicePanel([scene(size, affine)])));
  assert.equal([a.width, a.height], [193 + 130 + 130 + 8, 256]); // 256 pixels for 81 mm
  assert.equal([b.width, b.height], [a.width, a.height]);
  assert.ok(a.data.every((value, n) => Math.abs(value - b.data[n]) <= 1));
  const at = (x: number, y: number) => a.data[y * a.width + x];
  const expected = (mm: number) => (255 * (mm + 260)) / 520;
  const close = (value: number, mm: number) => assert.ok(Math.abs(value - expected(mm)) < 4, `${value}, expected ${expected(mm)}`);
  close(at(192, 0), 2 * 30 + 4 * 40); // sagittal: front and top
  close(at(0, 255), -2 * 30 - 4 * 40); // sagittal: back and bottom
  close(at(197 + 129, 0), 20 + 4 * 40); // coronal: right and top
  close(at(331 + 129, 32), 20 + 2 * 30); // axial: right and front (61 mm in the middle of 81)
  close(at(331, 223), -20 - 2 * 30); // axial: left and back
  assert.is(at(194, 100), 0); // the gap
});

test('slicePanel keeps millimetres: thick slices are enlarged, a smaller volume stays smaller', () => {
  const thick: Affine = [1, 0, 0, -20, 0, 1, 0, -30, 0, 0, 9, -36];
  const half: Affine = [1, 0, 0, -10, 0, 1, 0, -15, 0, 0, 1, -20];
  const rows = [scene(RAS.size, RAS.affine), scene([41, 61, 9], thick), scene([21, 31, 41], half)];
  const { width, height, data } = decode(slicePanel(rows));
  assert.equal([width, height], [461, 3 * 256 + 2 * 4]);
  const lit = (row: number) => data.subarray(row * 260 * width, (row * 260 + 256) * width).filter((value) => value > 0).length;
  assert.ok(Math.abs(lit(1) / lit(0) - 1) < 0.05, `${lit(1)} of ${lit(0)}`);
  assert.ok(Math.abs(lit(2) / lit(0) - 0.26) < 0.03, `${lit(2)} of ${lit(0)}`);
  const centre = (row: number) => data[(row * 260 + 128) * width + 96];
  [0, 1, 2].forEach((row) => assert.ok(Math.abs(centre(row) - 127.5) < 4));
});

test.run();
