// The kernel bench without its clock: work is counted right, every kernel has a row, and what the rows compute is what the reference says.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readdirSync } from 'node:fs';
import { slope } from '../bench/probes/cell-cost.ts';
import { families } from '../bench/probes/families.ts';
import { result } from '../bench/probes/roof.ts';
import { describe, type Row } from '../bench/probes/rows.ts';
import type { Size } from '../bench/probes/sizes.ts';
import { evaluate } from '../bench/probes/timing.ts';
import { gpu } from './gpu.ts';
import { ndarray, relativeError } from './reference/ndarray.ts';
import { at } from './root.ts';

const SIZE: Size = [9, 6, 7];
/** Rows of whole vectors of four. */
const OF_FOURS: Size = [12, 5, 7];
const VOXELS = 9 * 6 * 7;
const row = (name: string, pass: Row['pass'] = 'forward', channels?: readonly [number, number], dtype?: 'f32' | 'f16') =>
  families[name](SIZE, channels, dtype).find((r) => r.pass === pass)!;

/** Weights are small in number and launched once a step; the padded gradient's fold is a row of conv3d-replicate. */
const EXEMPT = ['clip_scale', 'weight_norm', 'weight_norm_dv'];

test('every kernel is launched by a row, but those that only see weights', () => {
  const rows = Object.values(families).flatMap((family) => [...family(SIZE), ...family(OF_FOURS)]);
  const phases = (['cpu', 'gpu'] as const).flatMap((processor) => rows.flatMap((row) => describe(row, processor).plan.phases));
  const launched = new Set(phases.flatMap(({ dispatches }) => dispatches.map((d) => d.kernel.name)));
  const files = readdirSync(at('kernels')).filter((file) => file.endsWith('.wgsl'));
  assert.equal(
    files.map((file) => file.slice(0, -5)).filter((name) => !launched.has(name)),
    EXEMPT,
  );
});

test('a family names its rows after itself, one a pass', () => {
  for (const [name, family] of Object.entries(families)) {
    const rows = family(SIZE);
    assert.equal([...new Set(rows.map((r) => r.kernel))], [name]);
    assert.is(new Set(rows.map((r) => r.pass)).size, rows.length);
  }
});

test('FLOP of a convolution: 2 · Ci · Co · K³ · output voxels, in every pass', () => {
  for (const pass of ['forward', 'dx', 'dw'] as const) {
    assert.is(describe(row('conv3d', pass, [5, 6])).flop, 2 * 5 * 6 * 27 * VOXELS);
    assert.is(describe(row('conv3d-stride2', pass, [5, 6])).flop, 2 * 5 * 6 * 27 * 5 * 3 * 4);
    assert.is(describe(row('conv3d-joined', pass, [9, 2])).flop, 2 * 9 * 2 * 27 * VOXELS);
  }
  assert.is(describe(row('conv3d-5', 'forward', [5, 6])).flop, 2 * 5 * 6 * 125 * VOXELS);
  assert.is(describe(row('warp')).flop, 0);
});

test('bytes: each input once, each output once', () => {
  const f32 = (count: number) => 4 * count;
  const bytes = (...args: Parameters<typeof row>) => describe(row(...args)).bytes;
  const w = 5 * 6 * 27;
  assert.is(bytes('conv3d', 'forward', [5, 6]), f32(11 * VOXELS + w + 6));
  assert.is(bytes('conv3d', 'dx', [5, 6]), f32(11 * VOXELS + w));
  assert.is(bytes('conv3d', 'dw', [5, 6]), f32(11 * VOXELS + w));
  assert.is(bytes('conv3d', 'forward', [5, 6], 'f16'), f32(w + 6) + 2 * 11 * VOXELS);
  assert.is(bytes('warp'), f32((1 + 3 + 1) * VOXELS));
  assert.is(bytes('warp', 'dx'), f32((1 + 3 + 1 + 3) * VOXELS));
  assert.is(bytes('warpWithGradient', 'dx'), f32((4 + 3 + 1 + 3 + 3) * VOXELS));
  assert.is(bytes('gaussian'), f32(2 * 3 * VOXELS)); // three passes
  assert.is(bytes('adam'), f32((1 + 2 * 3) * 3 * VOXELS + 2 * 4)); // g, and p, m, v and the corrections in and out
  assert.is(bytes('anderson'), f32(15 * 3 * VOXELS));
  assert.is(bytes('mean'), f32(3 * VOXELS + 1));
});

test('bytes of LNCC: what is made inside is written and read as well', () => {
  assert.is(describe({ ...row('gaussian'), workspace: true }).bytes, 4 * 6 * 3 * VOXELS); // three passes, two volumes between them
  for (const name of ['lncc', 'lnccForce', 'localStatistics']) {
    const counted = describe(row(name)),
      outside = describe({ ...row(name), workspace: false });
    assert.ok(counted.bytes > 2 * outside.bytes, name);
  }
});

test('a rate is work over time, and per cent of peak the larger part of the two', () => {
  const peak = { gflops: 100, gbps: 10, fma: [], copy: [] };
  const conv = row('conv3d', 'forward', [16, 16]);
  const work = describe(conv);
  const times = work.dispatches.map(({ kernel }) => ({ label: kernel.name, ms: kernel.name === 'conv3d' ? 0.5 : 0.25 }));
  const found = result(conv, work, times, peak);
  assert.is(found.ms, 0.75);
  assert.is(found.gflops, work.flop / 0.75e6);
  assert.is(found.percentOfPeak, found.gflops!);
  assert.equal([found.bound, found.variant, found.dispatches], ['FMA', 'RUN 12 × 16 channels, LANES 1, WG 64', 2]);
  const warp = row('warp');
  const sampled = result(warp, describe(warp), [{ label: 'warp', ms: 2 }], peak);
  assert.equal([sampled.gflops, sampled.bound], [null, 'copy']);
  assert.is(sampled.gbps, describe(warp).bytes / 2e6);
  assert.is(sampled.percentOfPeak, 10 * sampled.gbps);
});

test('the slope of a cost in proportion to the size is 1', () => {
  const costs = [1, 3, 10].map((n) => ({ size: SIZE, voxels: 1000 * n, ms: 0.2 * n }));
  assert.ok(Math.abs(slope(costs) - 1) < 1e-12);
  assert.ok(Math.abs(slope(costs.map((c) => ({ ...c, ms: c.ms ** 2 }))) - 2) < 1e-12);
});

const device = await gpu();
/** Few channels for the plain loops of the reference. */
const few: Record<string, [number, number]> = { conv3d: [5, 6], 'conv3d-joined': [9, 4] };
for (const r of Object.entries(families).flatMap(([name, family]) =>
  family(SIZE, few[name] ?? (name.startsWith('conv3d') ? [3, 2] : undefined)),
)) {
  if (!r.reference) continue;
  test(`${r.kernel} ${r.pass} computes what the reference does`, async () => {
    const expected = r.reference!(r.inputs.map(({ shape, values }) => ndarray([...shape], values())));
    const found = await evaluate(device, r);
    assert.is(found.length, expected.length);
    expected.forEach(({ data }, i) => assert.ok(relativeError(found[i], data) < 1e-5, `${i}: ${relativeError(found[i], data)}`));
  });
}

test.run();
