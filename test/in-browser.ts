// Chromium, where there is one, on its own WebGPU (SwiftShader): a script in a page that is served on 127.0.0.1.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { browser } from './pages.ts';

/** Types of what is served, by the ending of the name. */
const TYPES: Record<string, string> = { js: 'text/javascript', html: 'text/html' };

/**
 * Serves `files` by their paths beside a page that runs `script`, the body of an async function; resolves to what that returns (as JSON),
 * and rejects with what it throws.
 */
export async function inBrowser<T>(script: string, files: Record<string, Buffer | string>): Promise<T> {
  const profile = await mkdtemp(join(tmpdir(), 'deqreg-browser-'));
  let resolve!: (value: T) => void, reject!: (error: Error) => void;
  const answered = new Promise<T>((...both) => ([resolve, reject] = both));
  const post = (to: string, value: string) => `await fetch('/${to}', { method: 'POST', body: ${value} });`;
  const page = `<!doctype html><script type="module">
    try { const value = await (async () => { ${script} })(); ${post('done', 'JSON.stringify(value)')} }
    catch (error) { ${post('failed', 'String(error.stack)')} }
  </script>`;
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
    } else if (url === '/') response.setHeader('content-type', 'text/html').end(page);
    else response.setHeader('content-type', TYPES[url.split('.').at(-1)!] ?? 'application/octet-stream').end(files[url] ?? '');
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const running = spawn(
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
  const closed = new Promise((ended) => running.on('close', ended));
  void closed.then(() => reject(new Error(`${browser} has ended before the page answered`)));
  const late = setTimeout(() => reject(new Error('the page has not answered for five minutes')), 300_000);
  try {
    return await answered;
  } finally {
    clearTimeout(late);
    running.kill();
    server.close();
    await closed;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
