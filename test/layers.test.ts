// Who imports whom, from esbuild's own account of the entry points: layers point downwards, files form no cycle, and the
// browser's bundle needs no Node. (Type-only imports vanish before this and may point anywhere.)
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, type BuildOptions } from 'esbuild';
import { readdirSync, readFileSync } from 'node:fs';
import { at, root } from './root.ts';

/** A layer may import itself and those before it; io stands alone and serves the outer two. */
const layers = ['gpu', 'graph', 'ops', 'deq', 'models', 'register', 'train', 'cli'];
const entries = ['src/index.ts', 'src/node.ts', 'src/cli/main.ts'];
const mayUseIo = ['register', 'train', 'cli'];
const nodeOnly = /^src\/(node\.ts|io\/files\.ts|cli\/)/;

const bundle = async (options: BuildOptions) => {
  const { metafile, outputFiles } = await build({
    absWorkingDir: root,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    outdir: 'dist',
    loader: { '.wgsl': 'text', '.css': 'text', '': 'text' },
    external: ['webgpu', 'node:*', '*?bundle'],
    write: false,
    metafile: true,
    logLevel: 'silent',
    ...options,
  });
  return { inputs: metafile!.inputs, text: outputFiles!.map((file) => file.text).join('\n') };
};
const { inputs } = await bundle({ entryPoints: entries, platform: 'node' });
const sources = Object.keys(inputs).filter((file) => file.startsWith('src/'));
const importsOf = (file: string) => inputs[file].imports.map(({ path }) => path);

const layerOf = (file: string): string => (entries.slice(0, 2).includes(file) ? 'entry' : file.split('/')[1]);

/** Why a file may not import another, or nothing. */
function fault(from: string, to: string): string | undefined {
  if (/^(node:|webgpu$)/.test(to))
    return nodeOnly.test(from) ? undefined : 'only src/node.ts, src/cli and src/io/files.ts run in Node alone';
  if (!to.startsWith('src/')) return undefined;
  const [a, b] = [layerOf(from), layerOf(to)];
  if (a === 'entry') return b === 'cli' ? 'the library does not know its command' : undefined;
  if (b === 'entry') return a === 'cli' ? undefined : 'only the command stands above the entry points';
  if (a === 'io') return b === 'io' ? undefined : 'io stands alone';
  if (b === 'io') return mayUseIo.includes(a) ? undefined : `only ${mayUseIo.join(', ')} read volumes`;
  if (!layers.includes(a) || !layers.includes(b)) return 'no such layer';
  return layers.indexOf(b) > layers.indexOf(a) ? `the order is ${layers.join(' ← ')}` : undefined;
}

test('imports point downwards, and Node stays in the Node-only files', () => {
  const faults = sources.flatMap((from) =>
    importsOf(from)
      .map((to) => [from, to, fault(from, to)])
      .filter(([, , why]) => why),
  );
  assert.equal(
    faults.map(([from, to, why]) => `${from} imports ${to}: ${why}`),
    [],
  );
});

test('the rules refuse what they should', () => {
  for (const [from, to] of [
    ['src/gpu/device.ts', 'src/graph/graph.ts'],
    ['src/ops/warp.ts', 'src/deq/solver.ts'],
    ['src/io/png.ts', 'src/gpu/ledger.ts'],
    ['src/graph/plan.ts', 'src/io/volume.ts'],
    ['src/register/register.ts', 'node:fs'],
    ['src/gpu/device.ts', 'webgpu'],
    ['src/register/register.ts', 'src/node.ts'],
    ['src/index.ts', 'src/cli/main.ts'],
    ['src/util/x.ts', 'src/gpu/device.ts'],
  ])
    assert.ok(fault(from, to), `${from} may not import ${to}`);
});

test('no cycle between files', () => {
  const done = new Set<string>();
  const visit = (file: string, path: string[]): void => {
    const from = path.indexOf(file);
    if (from >= 0) throw new Error(`cycle: ${[...path.slice(from), file].join(' → ')}`);
    if (done.has(file) || !inputs[file]) return;
    importsOf(file).forEach((next) => visit(next, [...path, file]));
    done.add(file);
  };
  sources.forEach((file) => visit(file, []));
});

test('the browser bundle of src/index.ts holds no Node module', async () => {
  const { inputs, text } = await bundle({ entryPoints: ['src/index.ts'], platform: 'browser' });
  const external = Object.values(inputs)
    .flatMap((file) => file.imports)
    .filter(({ external }) => external)
    .map(({ path }) => path);
  assert.equal(external, []);
  assert.not.match(text, /\bfrom\s*"(node:|webgpu")|\b(import|require)\(\s*"(node:|webgpu")/);
});

test('every kernel is imported, and no WGSL hides in TypeScript', () => {
  const kernels = readdirSync(at('kernels'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.wgsl'));
  assert.ok(kernels.length > 30);
  assert.equal(
    kernels.filter((file) => !inputs[`kernels/${file}`]),
    [],
  );
  assert.equal(
    sources.filter((file) => /@compute|@group\(0\) @binding\(0\)/.test(readFileSync(at(file), 'utf8'))),
    [],
  );
});

test.run();
