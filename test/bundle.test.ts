// The bundle for servers without network: what lies in it, and its start script, from elsewhere, through links, with nothing on the PATH.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { version } from '../package.json';
import { at } from './root.ts';

const name = `deqreg-${version}-linux-x64`;
const { status, stderr } = spawnSync(process.execPath, [at('build.mjs'), 'bundle', 'folder'], { encoding: 'utf8' });
const refused = status !== 0;
const bundled = refused ? test.skip : test;
const folder = mkdtempSync(join(tmpdir(), 'deqreg bundle '));
const home = join(folder, 'a folder', name);

/** Runs a program of the bundle with an environment of its own. */
const run = (program: string, args: string[], env: Record<string, string> = {}, cwd = folder) =>
  spawnSync(program, args, { cwd, env, encoding: 'utf8' });

/** A program for `PATH`, as a shell script. */
function stub(path: string, script: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

test.before(() => {
  if (refused) return;
  for (const part of ['bin', 'lib/deqreg/dist']) cpSync(at('dist', name, part), join(home, part), { recursive: true });
  stub(join(home, 'lib/node'), 'echo "$LD_LIBRARY_PATH"; for arg in "$@"; do echo "<$arg>"; done; exit 7');
  symlinkSync(`a folder/${name}/bin/deqreg`, join(folder, 'relative'));
  mkdirSync(join(folder, 'links'));
  symlinkSync('../relative', join(folder, 'links/deqreg'));
});
test.after(() => {
  rmSync(folder, { recursive: true });
  rmSync(at('dist', name), { recursive: true, force: true });
});

test('it is made on Linux x64 by a Node of its own, or refused by name', () => {
  if (refused) {
    console.log(`skipped: ${stderr.trim()}`);
    assert.match(stderr, /^build\.mjs: bundle is made on Linux x64|^build\.mjs: bundle: this Node needs libraries/);
  } else assert.ok(existsSync(at('dist', name, 'lib/node')));
});

bundled('it holds Node, the engine, the trained models, Dawn for Linux x64, the Vulkan loader and the licences of all that', () => {
  const files = readdirSync(at('dist', name), { recursive: true, encoding: 'utf8' });
  const plain = files.filter((file) => statSync(at('dist', name, file)).isFile()).sort();
  const licences = ['deqreg', 'fast-png', 'fflate', 'iobuffer', 'nifti-reader-js', 'papaparse', 'uplot', 'webgpu'];
  const weights = existsSync(at('weights')) ? readdirSync(at('weights')).filter((file) => file.endsWith('.safetensors')) : [];
  const needed = [
    'README.txt',
    'bin/deqreg',
    'lib/deqreg/dist/deqreg.js',
    'lib/deqreg/dist/index.js',
    'lib/deqreg/dist/node.js',
    'lib/deqreg/node_modules/webgpu/dist/linux-x64/dawn.node',
    'lib/deqreg/node_modules/webgpu/index.js',
    'lib/deqreg/node_modules/webgpu/package.json',
    'lib/deqreg/package.json',
    'lib/node',
    'lib/vulkan/libvulkan.so.1',
    ...weights.map((file) => `lib/deqreg/weights/${file}`),
    ...licences.map((part) => `licenses/${part}.txt`),
  ];
  assert.equal(
    plain.filter((file) => !/licenses\/(node|vulkan-loader)/.test(file)), // those two depend on the machine
    needed.sort(),
  );
});

bundled('it runs on its own: no PATH, no HOME', () => {
  const { stdout, stderr } = run(at('dist', name, 'bin/deqreg'), ['--version'], { PATH: '/nonexistent' });
  assert.equal([stdout, stderr], [`${version}\n`, '']);
});

bundled('the start script finds its folder from anywhere and hands on arguments and exit code', () => {
  const args = ['two words', '', '\'"$HOME', '*'];
  const expected = [join(home, 'lib/deqreg/dist/deqreg.js'), ...args].map((arg) => `<${arg}>`);
  for (const [program, cwd] of [
    [join(home, 'bin/deqreg'), '/'],
    ['bin/deqreg', home],
    [join(folder, 'links/deqreg'), '/'],
    ['links/deqreg', folder],
  ]) {
    const { stdout, status } = run(program, args, { PATH: '/nonexistent', CDPATH: '/usr' }, cwd);
    assert.equal(stdout.trimEnd().split('\n').slice(1), expected, program);
    assert.is(status, 7);
  }
  const { stdout } = run('/bin/sh', ['deqreg', 'x'], {}, join(home, 'bin'));
  assert.match(stdout, `deqreg.js>\n<x>`);
});

bundled("the bundle's Vulkan loader is searched only where the system has none, and last", () => {
  const [own, bin] = [join(home, 'lib/vulkan'), join(folder, 'stubs')];
  const searched = (listed: string, env = {}) => {
    stub(join(bin, 'ldconfig'), `echo '${listed}'`);
    return run(join(home, 'bin/deqreg'), [], { PATH: bin, ...env }).stdout.split('\n')[0];
  };
  assert.is(searched('\tlibvulkan.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libvulkan.so.1'), '');
  assert.is(searched('\tlibvulkan.so.1 (libc6) => /lib/i386-linux-gnu/libvulkan.so.1'), own);
  assert.is(searched('', { LD_LIBRARY_PATH: '/opt/lib' }), `/opt/lib:${own}`);
});

test.run();
