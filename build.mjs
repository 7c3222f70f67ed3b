#!/usr/bin/env node
// The one entry of the project: node build.mjs <command>
//   setup       packages from the lock file, a build, and a Vulkan driver that Dawn can use
//   build       dist/deqreg.js (the command), dist/index.js (the library), dist/node.js, type declarations
//   check       types, then every test (kernels compile in every variant, layers import downwards, …)
//   test [word] the tests whose file name contains the word
//   bench name  one of bench/*.ts; its arguments follow
//   watch       rebuild on every change
//   format      lays out all TypeScript with prettier
//   quickstart  setup, then register a synthetic pair and say where the pictures are
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const fail = (message) => {
  console.error(`build.mjs: ${message}`);
  process.exit(1);
};
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 15)) fail(`needs Node 20.15 or newer, this is ${process.versions.node}`);

const root = dirname(fileURLToPath(import.meta.url));
const at = (...parts) => join(root, ...parts);
const run = (program, args) => execFileSync(program, args, { cwd: root, stdio: 'inherit' });
const cli = (...args) => spawnSync(process.execPath, [at('dist/deqreg.js'), ...args], { cwd: root, stdio: 'inherit' }).status ?? 1;

/** `import script from './page.ts?bundle'`: a browser script and all that it imports, minified, as text. */
const scripts = {
  name: 'scripts',
  setup({ onResolve, onLoad, esbuild }) {
    onResolve({ filter: /\?bundle$/ }, ({ path, resolveDir }) => ({
      path: join(resolveDir, path.replace('?bundle', '')),
      namespace: 'script',
    }));
    onLoad({ filter: /./, namespace: 'script' }, async ({ path }) => {
      const {
        outputFiles: [{ text }],
        metafile,
      } = await esbuild.build({
        entryPoints: [path],
        bundle: true,
        minify: true,
        format: 'iife',
        target: 'es2022',
        legalComments: 'none',
        write: false,
        metafile: true,
        absWorkingDir: root,
      });
      return { contents: text, loader: 'text', watchFiles: Object.keys(metafile.inputs).map((file) => at(file)) };
    });
  },
};

/** esbuild's options for everything: WGSL and styles are imported as text, packages with native code stay outside the bundle. */
const options = (entryPoints, outdir, more = {}) => ({
  entryPoints,
  outdir,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  absWorkingDir: root,
  loader: { '.wgsl': 'text', '.css': 'text', '': 'text' },
  plugins: [scripts],
  external: ['webgpu', 'node:*'],
  logLevel: 'warning',
  metafile: true,
  sourcemap: 'linked',
  ...more,
});

const targets = () => [
  options({ index: 'src/index.ts' }, 'dist', { platform: 'browser' }),
  options({ node: 'src/node.ts' }, 'dist', { platform: 'node' }),
  options({ deqreg: 'src/cli/main.ts' }, 'dist', { platform: 'node', banner: { js: '#!/usr/bin/env node' } }),
];

/** Installs the packages of the lock file, where they are missing or older than it. */
function packages() {
  const modified = (file) => statSync(at(file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (modified('node_modules/.package-lock.json') >= modified('package-lock.json')) return;
  const npm = (args, stdio) => spawnSync(`npm ${args}`, { cwd: root, stdio, shell: true }).status; // a shell finds Windows' npm.cmd as well
  if (npm('--version', 'ignore') !== 0) fail('npm does not run; it comes with Node, or as the package npm of a distribution');
  if (npm('ci --include=dev', 'inherit') !== 0) fail('npm ci failed, its message is above');
}

async function build() {
  const { build } = await import('esbuild');
  mkdirSync(at('dist'), { recursive: true });
  await Promise.all(targets().map((target) => build(target)));
}

const types = (...args) => run(process.execPath, [at('node_modules/typescript/bin/tsc'), '-p', at('tsconfig.json'), ...args]);

async function setup() {
  packages();
  await build();
  if (cli('setup') !== 0) process.exit(1);
}

/** Bundles one file of test/ or bench/ a time, with shared chunks, so that all of them run in one process. */
async function bundle(files, folder) {
  const { build } = await import('esbuild');
  rmSync(at('dist', folder), { recursive: true, force: true });
  await build(
    options(files, join('dist', folder), {
      platform: 'node',
      splitting: true,
      outbase: folder,
      external: ['webgpu', 'node:*', 'esbuild', 'uvu', 'uvu/*'],
    }),
  );
  return files.map((file) => pathToFileURL(at('dist', file.replace(/\.ts$/, '.js'))).href);
}

async function test(word = '') {
  const files = readdirSync(at('test'))
    .filter((f) => f.endsWith('.test.ts') && f.includes(word))
    .sort()
    .map((f) => `test/${f}`);
  if (!files.length) throw new Error(`no test file in test/ has "${word}" in its name`);
  const urls = await bundle(files, 'test');
  globalThis.UVU_DEFER = 1;
  const { exec } = await import('uvu');
  const sum = { passed: 0, failed: 0, skipped: 0 };
  globalThis.UVU_QUEUE = globalThis.UVU_QUEUE ?? [];
  UVU_QUEUE.length = 0;
  for (const [i, url] of urls.entries()) {
    globalThis.UVU_INDEX = i;
    UVU_QUEUE.push([files[i]]);
    await import(url);
    if (UVU_QUEUE[i].length < 2) throw new Error(`${files[i]} runs no test: does it end with test.run()?`);
    UVU_QUEUE[i] = UVU_QUEUE[i].map((suite) =>
      typeof suite !== 'function'
        ? suite
        : async () => {
            const [errors, passed, skipped, total] = await suite();
            sum.passed += passed;
            sum.failed += total - passed;
            sum.skipped += skipped;
            return [errors, passed, skipped, total];
          },
    );
  }
  await exec();
  console.log(`${sum.passed} passed, ${sum.failed} failed${sum.skipped ? `, ${sum.skipped} skipped` : ''}`);
  process.exit(sum.failed || !sum.passed ? 1 : 0);
}

async function bench(name = '', ...args) {
  const names = readdirSync(at('bench'))
    .filter((f) => f.endsWith('.ts'))
    .map((f) => f.slice(0, -3));
  if (!names.includes(name)) throw new Error(`bench: choose one of ${names.join(', ')}`);
  const [url] = await bundle([`bench/${name}.ts`], 'bench');
  const { main } = await import(url);
  await main(args);
  process.exit(0);
}

async function watch() {
  const { context } = await import('esbuild');
  for (const target of targets()) await (await context({ ...target, logLevel: 'info' })).watch();
}

const [command, ...args] = process.argv.slice(2);
const commands = {
  setup,
  build: async () => {
    packages();
    await build();
    types('--noEmit', 'false', '--declaration', '--emitDeclarationOnly', '--outDir', 'dist/types');
  },
  check: async () => {
    await setup();
    types();
    await test();
  },
  test: async (word) => {
    await setup();
    await test(word);
  },
  bench: async (...rest) => {
    await setup();
    await bench(...rest);
  },
  watch,
  format: () =>
    run(process.execPath, [
      at('node_modules/prettier/bin/prettier.cjs'),
      '--write',
      'src/**/*.ts',
      'bench/*.ts',
      'test/**/*.ts',
      'build.mjs',
    ]),
  quickstart: async () => {
    await setup();
    process.exit(cli('quickstart'));
  },
};
try {
  if (!commands[command]) fail(`usage: node build.mjs ${Object.keys(commands).join('|')}`);
  await commands[command](...args);
} catch (error) {
  fail(error.status ? `a step failed (exit ${error.status})` : error.stack);
}
