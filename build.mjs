#!/usr/bin/env node
// The one entry of the project: node build.mjs <command>
//   setup       packages from the lock file, a build, and a Vulkan driver that Dawn can use
//   build       dist/deqreg.js (the command), dist/index.js (the library), dist/node.js, type declarations
//   check       types, then every test (kernels compile in every variant, layers import downwards, …)
//   test [word] the tests whose file name contains the word
//   bench name  one of bench/*.ts; its arguments follow; "bench page" puts all reports on one page
//   bundle      dist/deqreg-<version>-linux-x64.tar.xz: Node and all else that a server without network needs;
//               "bundle folder" leaves it unpacked
//   watch       rebuild on every change
//   format      lays out all TypeScript with prettier
//   quickstart  setup, then register a synthetic pair and say where the pictures are
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const fail = (message) => {
  console.error(`build.mjs: ${message}`);
  process.exit(1);
};
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || major === 21 || (major === 20 && minor < 15) || (major === 22 && minor < 2))
  fail(
    `needs Node 20.15 or 22.2 and newer, this is ${process.versions.node}; the npm registry has it too: npx --yes --package node@22 node build.mjs …`,
  );

const root = dirname(fileURLToPath(import.meta.url));
const at = (...parts) => join(root, ...parts);
const run = (program, args) => execFileSync(program, args, { cwd: root, stdio: 'inherit' });
const cli = (...args) => spawnSync(process.execPath, [at('dist/deqreg.js'), ...args], { cwd: root, stdio: 'inherit' }).status ?? 1;

/** What is imported as text: WGSL, styles, and files without an ending, which are licences. */
const loader = { '.wgsl': 'text', '.css': 'text', '': 'text' };

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
        loader,
        plugins: [scripts],
        write: false,
        metafile: true,
        absWorkingDir: root,
      });
      return { contents: text, loader: 'text', watchFiles: Object.keys(metafile.inputs).map((file) => at(file)) };
    });
  },
};

/** esbuild's options for everything: packages with native code stay outside the bundle. */
const options = (entryPoints, outdir, more = {}) => ({
  entryPoints,
  outdir,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  absWorkingDir: root,
  loader,
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

/** ld.so searches LD_LIBRARY_PATH before the system's folders, so the Vulkan loader beside the script goes there only where it has none. */
const startScript = `#!/bin/sh
# Starts deqreg with the Node beside it, from any folder and through symbolic links.
self=$0
case $self in */*) ;; *) self=./$self ;; esac
while [ -h "$self" ]; do
  link=$(PATH=$PATH:/usr/bin:/bin; readlink "$self") || exit 1
  case $link in /*) self=$link ;; *) self=\${self%/*}/$link ;; esac
done
lib=$(CDPATH= cd -P -- "\${self%/*}/../lib" && pwd) || exit 1
case $(PATH=$PATH:/usr/sbin:/sbin; ldconfig -p 2>/dev/null) in
*'libvulkan.so.1 (libc6,x86-64'*) ;;
*) export LD_LIBRARY_PATH="\${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$lib/vulkan" ;;
esac
exec "$lib/node" "$lib/deqreg/dist/deqreg.js" "$@"
`;

const bundleReadme = (name) => `${name}: deformable registration of 3-D medical images; no network, no Node needed

  tar -xf ${name}.tar.xz -C /opt
  ln -s /opt/${name}/bin/deqreg /usr/local/bin/deqreg     (optional)
  deqreg info
  deqreg phantom --out pair
  deqreg register --fixed pair/fixed.nii.gz --moving pair/moving.nii.gz --out result

It needs Linux on x86-64 with glibc 2.34 and the libstdc++ of GCC 12, or newer (Debian 12, Ubuntu 22.04, RHEL 10), and a Vulkan driver of
the system:
- With a GPU, the one that comes with its driver (NVIDIA, AMD, Intel). "deqreg info" must name the GPU.
- Without, Mesa's software driver "lavapipe", version 23.2 or newer (Debian and Ubuntu: the package mesa-vulkan-drivers and what it depends
  on; Debian 12: from bookworm-backports). A driver anywhere else is chosen by the path of its JSON file:
  VK_DRIVER_FILES=/path/lvp_icd.x86_64.json deqreg info     (VK_ICD_FILENAMES for Vulkan loaders before 1.3.207)

The system's Vulkan loader is used where there is one, else lib/vulkan. The library: lib/deqreg/dist/node.js, run by lib/node.
Licences: licenses/.
`;

/** Lays out dist/<name>: the start script, Node, the engine, Dawn, the Vulkan loader and everybody's licence. */
function bundleFolder(name) {
  const { platform, arch, execPath, config } = process;
  if (platform !== 'linux' || arch !== 'x64') fail(`bundle is made on Linux x64, for Linux x64; this is ${platform} ${arch}`);
  const shared = Object.keys(config.variables).filter((key) => key.startsWith('node_shared') && config.variables[key] === true);
  if (shared.length) fail(`bundle: this Node needs libraries of its distribution (${shared.join(', ')}); use the one of nodejs.org`);
  const list = spawnSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' }).stdout ?? '';
  const loader = /libvulkan\.so\.1 \(libc6,x86-64.*=> (.+)/.exec(list)?.[1];
  if (!loader) fail('bundle: the Vulkan loader libvulkan.so.1 is missing; on Debian and Ubuntu: apt-get install libvulkan1');

  const to = (...parts) => at('dist', name, ...parts);
  const copy = (from, ...parts) => cpSync(realpathSync(from), to(...parts));
  rmSync(to(), { recursive: true, force: true });
  for (const folder of ['bin', 'licenses']) mkdirSync(to(folder), { recursive: true });
  writeFileSync(to('bin/deqreg'), startScript, { mode: 0o755 });
  writeFileSync(to('README.txt'), bundleReadme(name));
  copy(loader, 'lib/vulkan/libvulkan.so.1');
  copy(at('package.json'), 'lib/deqreg/package.json');
  const engine = ['deqreg.js', 'node.js', 'index.js'];
  for (const file of engine) copy(at('dist', file), 'lib/deqreg/dist', file);
  if (existsSync(at('weights')))
    for (const file of readdirSync(at('weights')).filter((file) => file.endsWith('.safetensors')))
      copy(at('weights', file), 'lib/deqreg/weights', file);
  for (const file of ['package.json', 'index.js', 'dist/linux-x64/dawn.node'])
    copy(at('node_modules/webgpu', file), 'lib/deqreg/node_modules/webgpu', file);

  copy(execPath, 'lib/node');
  const strip = spawnSync('strip', [to('lib/node')]);
  const works = () => spawnSync(to('bin/deqreg'), ['--version']).status === 0;
  if (strip.status === 0 && works()) console.log(`Node ${process.versions.node}, stripped, from ${execPath}`);
  else {
    copy(execPath, 'lib/node');
    console.log(`Node ${process.versions.node} from ${execPath}, not stripped: binutils' strip ${strip.error ? 'is missing' : 'fails'}`);
    if (!works()) fail(`bundle: ${to('bin/deqreg')} --version fails`);
  }

  const sources = engine.flatMap((file) => JSON.parse(readFileSync(at('dist', `${file}.map`))).sources);
  const names = sources.map((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1]).filter(Boolean);
  const licence = (folder) => ['LICENSE', 'LICENSE.md'].map((file) => join(folder, file));
  for (const [part, files] of [
    ['deqreg', licence(root)],
    ...['webgpu', ...new Set(names)].map((name) => [name, licence(at('node_modules', name))]),
    ['node', [join(dirname(execPath), '../LICENSE'), '/usr/share/doc/nodejs/copyright']],
    ['vulkan-loader', ['/usr/share/doc/libvulkan1/copyright', '/usr/share/licenses/vulkan-loader/LICENSE.txt']],
  ]) {
    const file = files.find(existsSync);
    if (file) copy(file, 'licenses', `${part.replace('/', '-')}.txt`);
    else console.log(`The licence of ${part} was not found on this machine: add licenses/${part}.txt before passing the bundle on`);
  }
}

/** The same files give the same bytes: order, owners, times and xz's blocks are fixed. */
function bundleArchive(name) {
  for (const [program, from] of Object.entries({ tar: 'tar', xz: 'xz-utils' }))
    if (spawnSync(program, ['--version']).error) fail(`bundle: ${program} is missing; on Debian and Ubuntu: apt-get install ${from}`);
  const same = '--sort=name --mtime=2000-01-01T00:00Z --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --format=gnu'.split(' ');
  run('tar', [...same, '-C', at('dist'), '-I', 'xz -T2 -1', '-cf', at(`dist/${name}.tar.xz`), name]);
  const megabytes = (path) => `${(statSync(path).size / 1e6).toFixed(1)} MB`;
  const files = readdirSync(at('dist', name), { recursive: true }).filter((file) => statSync(at('dist', name, file)).isFile());
  files.sort((a, b) => statSync(at('dist', name, b)).size - statSync(at('dist', name, a)).size);
  console.log(`dist/${name}.tar.xz: ${megabytes(at(`dist/${name}.tar.xz`))}; unpacked:`);
  for (const file of files.slice(0, 5)) console.log(`  ${megabytes(at('dist', name, file)).padStart(9)}  ${file}`);
  rmSync(at('dist', name), { recursive: true });
}

/** Bundles one file of test/ or bench/ at a time, with shared chunks, so that all of them run in one process. */
async function compile(files, folder) {
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
  const urls = await compile(files, 'test');
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
  const benches = readdirSync(at('bench'))
    .filter((f) => f.endsWith('.ts') && /^export (async )?function main\b/m.test(readFileSync(at('bench', f), 'utf8')))
    .map((f) => f.slice(0, -3));
  if (!benches.includes(name)) fail(`bench: choose one of ${benches.join(', ')}; each takes --help`);
  if (args.includes('--help'))
    return console.log(
      readFileSync(at(`bench/${name}.ts`), 'utf8')
        .match(/^(\/\/.*\n)+/)[0]
        .replace(/^\/\/ ?/gm, ''),
    );
  const [url] = await compile([`bench/${name}.ts`], 'bench');
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
  bundle: async (form = 'archive') => {
    if (!['archive', 'folder'].includes(form)) fail(`bundle: "folder" or nothing, not "${form}"`);
    packages();
    await build();
    const name = `deqreg-${JSON.parse(readFileSync(at('package.json'))).version}-linux-x64`;
    bundleFolder(name);
    if (form === 'archive') bundleArchive(name);
  },
  watch,
  format: () =>
    run(process.execPath, [
      at('node_modules/prettier/bin/prettier.cjs'),
      '--write',
      'src/**/*.ts',
      'bench/**/*.ts',
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
  fail(error.status ? `a step failed (exit ${error.status})` : error.code?.startsWith('ERR_PARSE_ARGS') ? error.message : error.stack);
}
