// report.html: one file, all text escaped, its layers true to the volumes; and the page in Chromium where there is one.
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decode, encode, pack as packAnywhere, unpack } from '../src/cli/report/codec.ts';
import { type Content, type Layer, OUTSIDE } from '../src/cli/report/content.ts';
import { pack } from '../src/cli/report/pack.ts';
import { pictures } from '../src/cli/report/pictures.ts';
import { readVolume } from '../src/io/files.ts';
import type { Volume } from '../src/io/volume.ts';
import { jacobianDeterminants } from '../src/register/metrics.ts';
import { deqreg } from './cli-run.ts';
import { browser, contentOf as embedded, opened, references } from './pages.ts';

let folder = '';
const at = (...parts: string[]) => join(folder, ...parts);
/** A folder and files whose names, one after the other, close the script, open tags and end attributes. */
const hostile = { folder: 'a<', fixed: `script><img alt=x onerror=alert(1)>"'&.nii.gz`, moving: '`$(touch owned)`<!--.nii.gz' };

const register = async (args: string[]) => {
  const ran = await deqreg(folder, ['register', '--iterations', '3', '--quiet', ...args]);
  assert.is(ran.code, 0, ran.stderr);
};
const page = (out: string) => readFile(at(out, 'report.html'), 'utf8');
const contentOf = (html: string): Content => embedded(html);
function codes({ data, size, plain }: Layer): Uint8Array {
  const bytes = new Uint8Array(gunzipSync(Buffer.from(data, 'base64')));
  return plain ? bytes : decode(bytes, size[0]);
}

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'deqreg-report-'));
  assert.is((await deqreg(folder, 'phantom --out p --kind brain --size 32,40,48 --seed 2'.split(' '))).code, 0);
  await register(
    '--fixed p/fixed.nii.gz --moving p/moving.nii.gz --fixed-seg p/fixed_seg.nii.gz --moving-seg p/moving_seg.nii.gz --landmarks p/landmarks.csv --out o'.split(
      ' ',
    ),
  );
  await mkdir(at(hostile.folder));
  await cp(at('p/fixed.nii.gz'), at(hostile.folder, hostile.fixed));
  await cp(at('p/moving.nii.gz'), at(hostile.folder, hostile.moving));
  await register(['--fixed', join(hostile.folder, hostile.fixed), '--moving', join(hostile.folder, hostile.moving), '--out', 'h']);
});
test.after(() => rm(folder, { recursive: true }));

test('one small file that refers to no other', async () => {
  const html = await page('o');
  assert.ok(html.length < 1e6, `${html.length} bytes`);
  assert.is(references(html), null);
  const { command, report, pictures: shown } = contentOf(html);
  assert.is(
    command,
    'deqreg register --iterations 3 --quiet --fixed p/fixed.nii.gz --moving p/moving.nii.gz --fixed-seg p/fixed_seg.nii.gz --moving-seg p/moving_seg.nii.gz --landmarks p/landmarks.csv --out o',
  );
  assert.equal(report, JSON.parse(await readFile(at('o/metrics.json'), 'utf8')));
  assert.equal(Object.keys(report.dice!.perLabelBefore), Object.keys(report.dice!.perLabel));
  assert.equal(shown.axes, [
    { letter: 'i', flip: true },
    { letter: 'k', flip: false },
    { letter: 'j', flip: true },
  ]);
});

test('label maps tell labels apart on the fixed grid, the warped ones beside the fixed', async () => {
  const { fixedLabels, warpedLabels, size } = contentOf(await page('o')).pictures;
  const [seg, warpedSeg] = [await readVolume(at('p/fixed_seg.nii.gz')), await readVolume(at('o/warped_seg.nii.gz'))];
  for (const [layer, { data }] of [
    [fixedLabels!, seg],
    [warpedLabels!, warpedSeg],
  ] as const) {
    const stored = codes(layer),
      seen = new Map<number, number>();
    assert.equal(layer.size, size);
    for (let z = 0, n = 0; z < 40; z++)
      for (let y = 0; y < 48; y++)
        for (let x = 0; x < 32; x++, n++) {
          const label = data[(y * 40 + 39 - z) * 32 + 31 - x];
          if (!seen.has(label)) seen.set(label, stored[n]);
          assert.is(stored[n], seen.get(label)!);
        }
    assert.equal([new Set(seen.values()).size, seen.get(0)], [seen.size, 0]);
  }
});

test('the images are those of the volumes, turned to right, anterior, superior', async () => {
  const {
    pictures: { fixed, size, levels },
    report: {
      intensities: {
        fixed: { low, high },
      },
    },
  } = contentOf(await page('o'));
  const { data } = await readVolume(at('p/fixed.nii.gz'));
  assert.equal(
    [fixed.size, size],
    [
      [32, 48, 40],
      [32, 48, 40],
    ],
  );
  const stored = codes(fixed);
  for (const [x, y, z] of [
    [16, 24, 20],
    [10, 30, 22],
    [20, 12, 15],
    [0, 0, 0],
  ]) {
    const code = stored[(z * 48 + y) * 32 + x],
      value = data[(y * 40 + 39 - z) * 32 + 31 - x];
    assert.is(code, Math.min(Math.round(((value - low) / (high - low) / 1.1) * levels), levels));
  }
});

/** A volume of a function of (i, j, k), 1×1×2 mm, axes right, anterior, superior. */
const volume = (of: (i: number, j: number, k: number) => number): Volume => {
  const data = new Float32Array(20 * 16 * 12);
  for (let k = 0, v = 0; k < 12; k++) for (let j = 0; j < 16; j++) for (let i = 0; i < 20; i++, v++) data[v] = of(i, j, k);
  return { size: [20, 16, 12], affine: [1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 2, 0], data, dtype: 'float32' };
};

test('displacement in mm, folds and log J; a moving image on another grid', async () => {
  const fixed = volume((i) => i);
  const displacement = new Float32Array(3 * fixed.data.length); // along k: a stretch by 1.5, folded at k = 6 where it jumps back
  displacement.set(volume((_, __, k) => (k < 6 ? 0.5 * k : 0.5 * k - 4)).data, 2 * fixed.data.length);
  const moving = { ...volume((i) => i), affine: [1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 2, 0] }; // 3 mm further left: i + 3 at the fixed voxel i
  const window = { modality: 'mri' as const, low: 0, high: 20 };
  const made = await pictures(
    { paths: { fixed: '', moving: '' }, fixed, moving, warnings: [] },
    { displacement, warped: { ...fixed, dtype: 'float32' }, intensities: { fixed: window, moving: window } },
    jacobianDeterminants(displacement, fixed.size),
    pack,
  );
  assert.is(codes(made.warped)[(2 * 16 + 4) * 20 + 17], OUTSIDE);
  assert.is(made.fixedLabels, undefined);
  const row = (layer: Layer, x: number, y: number) =>
    Array.from({ length: 12 }, (_, z) => codes(layer)[(z * layer.size[1] + y) * layer.size[0] + x]);
  assert.ok(Math.abs((row(made.displacement[2], 4, 4)[4] - 128) * made.step - 2 * 2) <= made.step, 'a displacement of 2 voxels, 4 mm');
  const jacobian = row(made.logJacobian, 4, 4);
  assert.equal(
    jacobian.map((code) => code === 0),
    Array.from({ length: 12 }, (_, k) => k === 5 || k === 6),
  );
  assert.ok(Math.abs(((jacobian[2] - 128) / made.logSteps) * made.logRange - Math.log(1.5)) < 0.02);
  const shown = codes(made.moving);
  assert.equal(
    [0, 10, 16].map((i) => shown[i]),
    [3, 13, 19].map((value) => Math.round((value / 20 / 1.1) * made.levels)),
  );
  assert.is(shown[18], OUTSIDE);
});

test('displacement: right, anterior and superior are up, however the axes run', async () => {
  const fixed = { ...volume((i) => i), affine: [-1, 0, 0, 5, 0, 0, 3, 0, 0, -2, 0, 0] }; // i to the left, j to inferior, k to anterior
  const n = fixed.data.length;
  const displacement = new Float32Array(3 * n).map((_, v) => [1, 2, -1][Math.floor(v / n)]);
  const window = { modality: 'mri' as const, low: 0, high: 20 };
  const made = await pictures(
    { paths: { fixed: '', moving: '' }, fixed, moving: fixed, warnings: [] },
    { displacement, warped: { ...fixed, dtype: 'float32' }, intensities: { fixed: window, moving: window } },
    jacobianDeterminants(displacement, fixed.size),
    pack,
  );
  const mm = made.displacement.map((layer) => (codes(layer)[0] - 128) * made.step);
  [-1, -3, -4].forEach((expected, axis) => assert.ok(Math.abs(mm[axis] - expected) <= made.step / 2 + 1e-6, `${mm}`));
});

test('the codec gives back what went in, on Node and as every browser packs', async () => {
  const bytes = Uint8Array.from({ length: 70_001 }, (_, n) => (n * n * 31 + (n >> 3)) & 255);
  assert.equal(decode(encode(bytes, 7), 7), bytes);
  for (const packed of [pack, packAnywhere])
    for (const repeats of ['zeros', 'rows'] as const) assert.equal(await unpack(await packed(bytes, repeats)), bytes);
});

test('hostile names stay text', async () => {
  const html = await page('h');
  assert.not.match(html, /onerror=alert\(1\)>"|<img/);
  assert.is(html.split('</script').length, 3, 'two scripts end');
  const { command, report } = contentOf(html);
  assert.is(report.inputs.fixed, join(hostile.folder, hostile.fixed));
  assert.is(
    spawnSync('sh', ['-c', `set -- ${command}; printf %s "$7"`], { encoding: 'utf8' }).stdout,
    report.inputs.fixed,
    'the command can be pasted',
  );
});

test('--no-report: no report', async () => {
  await register('--fixed p/fixed.nii.gz --moving p/moving.nii.gz --out n --no-report'.split(' '));
  assert.equal((await readdir(at('n'))).sort(), ['displacement.nii.gz', 'metrics.json', 'warped.nii.gz']);
  assert.ok((await readdir(at('h'))).includes('report.html'));
});

if (!browser) console.log('report: Chromium is not installed, so the page is not opened');
else
  test('in Chromium: no error on the console, sliders, pictures, charts, and names as text', async () => {
    for (const out of ['o', 'h']) {
      const { dom, console } = await opened(at(out, 'report.html'), at());
      const count = (pattern: RegExp) => dom.match(pattern)?.length ?? 0;
      assert.equal(console, []);
      assert.match(dom, /<body data-state="ready">/);
      assert.equal([count(/<input[^>]*type="range"/g), count(/<canvas[^>]*role="img"/g), count(/class="uplot /g)], [6, 18, 2]);
      if (out === 'o') assert.match(dom, /<h3>Labels/);
      else assert.match(dom, /<b>script&gt;&lt;img alt=x onerror=alert\(1\)&gt;"'&amp;\.nii\.gz<\/b>/);
    }
    const doubtful = (await page('o')).replace('"warnings":[]', '"warnings":["less alike than before"]');
    await writeFile(at('o', 'doubtful.html'), doubtful);
    assert.match((await opened(at('o', 'doubtful.html'), at())).dom, /<p class="warning">less alike than before<\/p>/);
  });

test.run();
