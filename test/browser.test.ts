// In a browser, where there is one: the library registers two NIfTI files as Node does on Dawn, and so does the page that `deqreg page`
// writes.
import { readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Report } from '../src/cli/metrics.ts';
import { encodeLandmarks } from '../src/io/landmarks.ts';
import { parseVolume } from '../src/io/parse-volume.ts';
import { type AdapterInfo, encodeNifti, parseDisplacement, register, type RegisterOptions, toPhysical, type Volume } from '../src/index.ts';
import { phantom } from '../src/register/phantom.ts';
import { scratch } from './cli-run.ts';
import { gpu } from './gpu.ts';
import { inBrowser } from './in-browser.ts';
import { browser, references } from './pages.ts';
import { at } from './root.ts';

const { fixed, moving, fixedSeg, movingSeg, landmarks } = phantom('brain', [24, 28, 32], 1);
const file = ({ size, affine, data }: Volume) => gzipSync(encodeNifti({ size, affine, data, dtype: 'float32' }));
const pair = { 'fixed.nii.gz': file(fixed), 'moving.nii.gz': file(moving) };
const served = (files: Record<string, Buffer | string>) =>
  Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`/${name}`, bytes]));
const largest = (values: Float32Array) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

const command = scratch('browser');
test.before(command.make);
test.after(command.remove);

const page = async () => {
  await command.succeed('page --out page.html');
  return readFile(command.at('page.html'), 'utf8');
};

test('the page of `deqreg page` is one file that refers to no other', async () => {
  const html = await page();
  assert.ok(html.length < 1.5e6, `${html.length} bytes`);
  assert.is(references(html), null);
  const { code, stderr } = await command.run('page --out page.txt');
  assert.is(code, 2);
  assert.match(stderr, 'page.txt: the name must end in .html');
});

if (!browser) {
  test.skip('in Chromium', () => {});
  console.log('skipped: Chromium is not installed, so neither the library nor the page is run in a browser');
} else {
  test('in Chromium, the library: the displacement is that of Node, in the memory planned', async () => {
    const options: RegisterOptions = { levels: [2, 1], iterations: 6, tolerance: 0, affine: 'none' };
    const script = `
      const bytes = async (name) => new Response((await fetch(name)).body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
      const adapter = await navigator.gpu?.requestAdapter();
      if (!adapter) throw new Error('no adapter');
      const { encodeDisplacement, Gpu, parseNifti, register, toPhysical } = await import('/index.js');
      const gpu = await Gpu.open({ adapter });
      const [fixed, moving] = await Promise.all(['fixed.nii.gz', 'moving.nii.gz'].map(async (name) => parseNifti(name, await bytes(name))));
      const { displacement, memory } = await register(gpu, fixed, moving, ${JSON.stringify(options)});
      const file = encodeDisplacement({ ...fixed, data: toPhysical(displacement, fixed) });
      return { info: gpu.info, memory, file: [...file] };`;
    const { info, memory, file } = await inBrowser<{
      info: AdapterInfo;
      memory: { planned: unknown; measured: unknown };
      /** The displacement as a NIfTI file. */
      file: number[];
    }>(script, served({ ...pair, 'index.js': await readFile(at('dist/index.js')) }));
    assert.ok(info.software, JSON.stringify(info));
    assert.equal(memory.measured, memory.planned);
    const found = parseDisplacement('displacement', Uint8Array.from(file).buffer);
    const { displacement } = await register(await gpu(), fixed, moving, options);
    const expected = toPhysical(displacement, fixed);
    const apart = largest(expected.map((x, i) => x - found.data[i]));
    assert.ok(largest(expected) > 0.5 && apart < 1e-3, `${apart} mm apart, of ${largest(expected)}`);
  });

  test('in Chromium, the page: files are chosen, what is missing is told, and the results are those of the command', async () => {
    const files = {
      ...pair,
      'fixed_seg.nii.gz': file(fixedSeg),
      'moving_seg.nii.gz': file(movingSeg),
      'landmarks.csv': encodeLandmarks(landmarks),
    };
    const script = `
      const frame = document.createElement('iframe');
      await new Promise((loaded) => document.body.append(Object.assign(frame, { src: '/page.html', onload: loaded })));
      const { contentDocument: page, contentWindow: its } = frame;
      const until = async (held) => { while (!held()) await new Promise((again) => setTimeout(again, 50)); };
      const run = async (button) => {
        page.getElementById(button).click();
        await until(() => page.body.dataset.state !== 'working');
        return page.body.innerText;
      };
      const choose = async (id, name, bytes) => {
        const list = new its.DataTransfer();
        list.items.add(new its.File([bytes ?? (await (await fetch('/' + name)).blob())], name));
        page.getElementById(id).files = list.files;
      };
      const missing = await run('register');
      await choose('fixed', 'fixed.nii.gz');
      await choose('moving', 'cut.nii.gz', (await (await fetch('/moving.nii.gz')).blob()).slice(0, 5000));
      const cut = await run('register');
      await choose('moving', 'moving.nii.gz');
      await choose('fixedSeg', 'fixed_seg.nii.gz');
      await choose('movingSeg', 'moving_seg.nii.gz');
      await choose('landmarks', 'landmarks.csv');
      const told = await run('register');
      const links = [...page.querySelectorAll('a')].map(async ({ download, href }) => [download, [...new Uint8Array(await (await fetch(href)).arrayBuffer())]]);
      const report = page.querySelector('iframe');
      await until(() => report.contentDocument.body?.dataset.state === 'ready');
      const shown = report.contentDocument.body.innerText;
      const height = report.clientHeight;
      page.getElementById('synthetic').click();
      await until(() => /iteration/.test(page.getElementById('status').textContent));
      const stopped = await run('stop');
      return { missing, cut, told, files: Object.fromEntries(await Promise.all(links)), shown, height, stopped };`;
    const found = await inBrowser<
      Record<'missing' | 'cut' | 'told' | 'shown' | 'stopped', string> & { files: Record<string, number[]>; height: number }
    >(script, served({ ...files, 'page.html': await page() }));
    assert.match(found.missing, 'choose a fixed image');
    assert.match(found.cut, 'cut.nii.gz: the browser cannot decompress it');
    assert.match(found.told, /done in [\d.]+ s on/);
    assert.match(found.shown, 'moving.nii.gz (moving) to fixed.nii.gz (fixed)');
    assert.match(found.shown, '--moving-seg moving_seg.nii.gz --landmarks landmarks.csv');
    assert.ok(found.height > 1000, `${found.height} pixels`);
    assert.match(found.stopped, 'stopped');

    await Promise.all(Object.entries(files).map(([name, bytes]) => writeFile(command.at(name), bytes)));
    await command.succeed(
      'register --fixed fixed.nii.gz --moving moving.nii.gz --fixed-seg fixed_seg.nii.gz --moving-seg moving_seg.nii.gz --landmarks landmarks.csv --quiet --out out',
    );
    assert.equal(Object.keys(found.files).sort(), [
      'displacement.nii.gz',
      'metrics.json',
      'report.html',
      'warped.nii.gz',
      'warped_seg.nii.gz',
    ]);
    const bytesOf = (name: string) => Uint8Array.from(found.files[name]);
    const [of, expected] = [Buffer.from(bytesOf('metrics.json')).toString(), await readFile(command.at('out/metrics.json'), 'utf8')].map(
      (text): Report => JSON.parse(text),
    ) as [Report, Report];
    for (const [is, shall, within] of [
      [of.dice!.mean, expected.dice!.mean, 0.005],
      [of.tre!.after, expected.tre!.after, 0.05],
      [of.similarity.after, expected.similarity.after, 0.002],
    ] as const)
      assert.ok(Math.abs(is - shall) < within, `${is}, by the command ${shall}`);
    const warped = await Promise.all(
      [bytesOf('warped.nii.gz'), await readFile(command.at('out/warped.nii.gz'))].map((bytes) => parseVolume('warped', bytes)),
    );
    const apart = warped[0].data.reduce((sum, x, v) => sum + Math.abs(x - warped[1].data[v]), 0) / fixed.data.length;
    assert.ok(apart < 0.5, `${apart} grey values of 255 apart on average`);
  });
}

test.run();
