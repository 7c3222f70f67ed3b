// The library in a browser: Chromium, where there is one, registers a pair on its own WebGPU (SwiftShader) as Node does on Dawn.
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AdapterInfo, register, type RegisterOptions } from '../src/index.ts';
import { phantom } from '../src/register/phantom.ts';
import { gpu } from './gpu.ts';
import { browser } from './pages.ts';
import { at } from './root.ts';

const { fixed, moving } = phantom('brain', [24, 28, 32], 1);
const options: RegisterOptions = { levels: [2, 1], iterations: 6, tolerance: 0, affine: 'none' };

/** Runs in the page: volumes are fetched, and what came out, or the error, is posted. */
const script = `
const voxels = async (name) => new Float32Array(await (await fetch(name)).arrayBuffer());
const post = (type, body) => fetch('/' + type, { method: 'POST', body });
try {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error('no adapter');
  const { Gpu, register } = await import('/index.js');
  const gpu = await Gpu.open({ adapter });
  const { grid, options } = await (await fetch('/job')).json();
  const [fixed, moving] = await Promise.all(['fixed', 'moving'].map(async (name) => ({ ...grid, data: await voxels(name) })));
  const { displacement, memory } = await register(gpu, fixed, moving, options);
  await post('done', JSON.stringify({ info: gpu.info, memory, displacement: [...displacement] }));
} catch (error) {
  await post('failed', String(error.stack));
}`;

interface Done {
  info: AdapterInfo;
  memory: { planned: unknown; measured: unknown };
  displacement: number[];
}

/** Serves the page on 127.0.0.1, opens it, and waits for what it posts. */
async function inBrowser(): Promise<Done> {
  const profile = await mkdtemp(join(tmpdir(), 'deqreg-browser-'));
  let resolve!: (done: Done) => void, reject!: (error: Error) => void;
  const answered = new Promise<Done>((...both) => ([resolve, reject] = both));
  const bytes = ({ data }: { data: Float32Array }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const { size, affine, dtype } = fixed;
  const answers: Record<string, Buffer | string> = {
    '/': `<!doctype html><script type="module">${script}</script>`,
    '/job': JSON.stringify({ grid: { size, affine, dtype }, options }),
    '/fixed': bytes(fixed),
    '/moving': bytes(moving),
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
    const { info, memory, displacement } = await inBrowser();
    assert.ok(info.software, JSON.stringify(info));
    assert.equal(memory.measured, memory.planned);
    const { displacement: expected } = await register(await gpu(), fixed, moving, options);
    const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const apart = expected.reduce((most, x, i) => Math.max(most, Math.abs(x - displacement[i]!)), 0);
    assert.ok(largest > 0.5 && apart < 1e-3, `${apart} voxel apart, of ${largest}`);
  });

test.run();
