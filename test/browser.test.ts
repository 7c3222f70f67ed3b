// The library in a browser: Chromium, where there is one, registers two NIfTI files on its own WebGPU (SwiftShader) as Node does on Dawn.
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AdapterInfo, encodeNifti, parseDisplacement, register, type RegisterOptions, toPhysical, type Volume } from '../src/index.ts';
import { phantom } from '../src/register/phantom.ts';
import { gpu } from './gpu.ts';
import { browser } from './pages.ts';
import { at } from './root.ts';

const { fixed, moving } = phantom('brain', [24, 28, 32], 1);
const options: RegisterOptions = { levels: [2, 1], iterations: 6, tolerance: 0, affine: 'none' };

/** Runs in the page: two gzipped NIfTI files are fetched, and what came out, or the error, is posted. */
const script = `
const bytes = async (name) => new Response((await fetch(name)).body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
const post = (type, body) => fetch('/' + type, { method: 'POST', body });
try {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error('no adapter');
  const { encodeDisplacement, Gpu, parseNifti, register, toPhysical } = await import('/index.js');
  const gpu = await Gpu.open({ adapter });
  const [fixed, moving] = await Promise.all(['fixed.nii.gz', 'moving.nii.gz'].map(async (name) => parseNifti(name, await bytes(name))));
  const { displacement, memory } = await register(gpu, fixed, moving, ${JSON.stringify(options)});
  const file = encodeDisplacement({ ...fixed, data: toPhysical(displacement, fixed) });
  await post('done', JSON.stringify({ info: gpu.info, memory, file: [...file] }));
} catch (error) {
  await post('failed', String(error.stack));
}`;

interface Done {
  info: AdapterInfo;
  memory: { planned: unknown; measured: unknown };
  /** The displacement as a NIfTI file. */
  file: number[];
}

/** Serves the page on 127.0.0.1, opens it, and waits for what it posts. */
async function inBrowser(): Promise<Done> {
  const profile = await mkdtemp(join(tmpdir(), 'deqreg-browser-'));
  let resolve!: (done: Done) => void, reject!: (error: Error) => void;
  const answered = new Promise<Done>((...both) => ([resolve, reject] = both));
  const file = ({ size, affine, data }: Volume) => gzipSync(encodeNifti({ size, affine, data, dtype: 'float32' }));
  const answers: Record<string, Buffer | string> = {
    '/': `<!doctype html><script type="module">${script}</script>`,
    '/fixed.nii.gz': file(fixed),
    '/moving.nii.gz': file(moving),
  };
  const server = createServer((request, response) => {
    const { url = '' } = request;
    if (request.method === 'POST') {
      const parts: Buffer[] = [];
      request.on('data', (part) => parts.push(part));
      request.on('end', () => {
        response.end();
        const text = Buffer.concat(parts).toString();
        if (url === '/done') resolve(JSON.parse(text));
        else reject(new Error(`in the browser: ${text}`));
      });
    } else if (url === '/index.js') createReadStream(at('dist/index.js')).pipe(response.setHeader('content-type', 'text/javascript'));
    else response.setHeader('content-type', url === '/' ? 'text/html' : 'application/octet-stream').end(answers[url] ?? '');
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const page = spawn(
    browser!,
    [
      '--headless=new',
      '--no-sandbox',
      '--disable-background-networking',
      `--user-data-dir=${profile}`,
      '--enable-unsafe-webgpu',
      '--use-webgpu-adapter=swiftshader',
      `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    ],
    { stdio: 'ignore' },
  );
  const closed = new Promise((ended) => page.on('close', ended));
  void closed.then(() => reject(new Error(`${browser} has ended before the page answered`)));
  const late = setTimeout(() => reject(new Error('the page has not answered for five minutes')), 300_000);
  try {
    return await answered;
  } finally {
    clearTimeout(late);
    page.kill();
    server.close();
    await closed;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

if (!browser) {
  test.skip('in Chromium', () => {});
  console.log('skipped: Chromium is not installed, so the library is not run in a browser');
} else
  test('in Chromium: the displacement is that of Node, in the memory planned', async () => {
    const { info, memory, file } = await inBrowser();
    assert.ok(info.software, JSON.stringify(info));
    assert.equal(memory.measured, memory.planned);
    const found = parseDisplacement('displacement', Uint8Array.from(file).buffer);
    const { displacement } = await register(await gpu(), fixed, moving, options);
    const expected = toPhysical(displacement, fixed);
    const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const apart = expected.reduce((most, x, i) => Math.max(most, Math.abs(x - found.data[i]!)), 0);
    assert.ok(largest > 0.5 && apart < 1e-3, `${apart} mm apart, of ${largest}`);
  });

test.run();
