// Every kernel, compiled in every variant that the ops launch; and how a kernel's text is read, specialised and packed.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readdirSync, readFileSync } from 'node:fs';
import { unroll } from '../src/gpu/unroll.ts';
import { kernel, packParams, specialise, type Constants, type Kernel } from '../src/gpu/kernel.ts';
import { resolveOptions } from '../src/register/options.ts';
import { traceAffine } from '../src/register/affine.ts';
import { identityAffine } from '../src/io/affine.ts';
import { traceRegistration } from '../src/register/trace.ts';
import { similarityJacobians } from '../src/models/cell.ts';
import { cells } from '../src/models/cells.ts';
import { traceTrainingStep, unitGrid } from '../src/train/step.ts';
import {
  adam,
  adamState,
  anderson,
  andersonState,
  compose,
  ema,
  gaussianField,
  gradientClip,
  Graph,
  identity,
  inverse,
  lnccForce,
  localStatistics,
  plan,
  resetAdam,
  softNormalize,
  type Tensor,
  vjp,
  warpWithGradient,
  withGradient,
} from '../src/index.ts';
import { gpuOps } from './gpu-ops.ts';
import { gpu } from './gpu.ts';
import { cases } from './reference/cases.ts';
import { at } from './root.ts';
import { rejection } from './rejection.ts';

interface Variant {
  kernel: Kernel;
  constants: Constants;
}
const variants = new Map<string, Variant>();

/** Traces, plans (no device) and notes every variant that would be launched. */
function collect(trace: (graph: Graph) => void): void {
  const graph = new Graph();
  graph.phase('all', () => trace(graph));
  note(graph);
}

function note(graph: Graph): void {
  const plans = (['cpu', 'gpu'] as const).map((processor) => plan(graph, processor));
  assert.equal(plans[0].peak, plans[1].peak, 'a processor changes the memory');
  const dispatches = plans.flatMap(({ phases }) => phases.flatMap((phase) => phase.dispatches));
  for (const { kernel, constants = {} } of dispatches) {
    // How many invocations a workgroup has, and how it lies in a volume's plane, follows the size: all ways are possible wherever one is.
    // The gradient of weights has one way alone: the sums of 256 invocations would not fit into what every device has for a workgroup.
    const sizes = constants.WG === 64 && kernel.name !== 'conv3d_dw' ? [64, 256] : [];
    const flat = [{}, ...sizes.map((WG) => ({ WG }))];
    const planes = sizes.flatMap((WG) => [64, 32, 16, 8].map((x) => ({ WG, WG_X: x, WG_Y: WG / x })));
    const cuts = !('WG_Y' in constants) ? flat : constants.WG_Y !== 1 && planes.length ? planes : [{}];
    const storages: Constants[] = kernel.bindings.some(({ real }) => real) ? [{}, { real: 'f16' }] : [{}];
    for (const choice of cuts.flatMap((cut) => storages.map((storage) => ({ ...constants, ...cut, ...storage }))))
      variants.set(specialise(kernel, choice), { kernel, constants: choice });
  }
}

/** Marks y, and its gradients where it has some, as what is wanted. */
function differentiate(graph: Graph, y: Tensor, xs: Tensor[]): void {
  graph.output(y);
  if (xs.length) vjp([y], [graph.input('dy', y.shape)], xs).forEach((g) => graph.output(g));
}

for (const { op, inputs, attrs, constants = 0 } of cases) {
  collect((graph) => {
    const xs = inputs.map((x, i) => graph.input(`x${i}`, x.shape));
    const y = gpuOps[op](xs, attrs);
    differentiate(graph, y, xs.slice(constants));
  });
}
for (const size of [
  [1, 1, 3, 3, 5],
  [1, 1, 4, 4, 4],
] as const) {
  for (let window = 1; window <= 8; window++) {
    for (const beta of [1, 0.5]) {
      collect((graph) => anderson(andersonState(graph.variable('z', size), window), graph.input('f', size), { window, beta, ridge: 1e-3 }));
    }
  }
}
const field = [2, 3, 3, 4, 5] as const,
  image = [2, 1, 3, 4, 5] as const;
collect((graph) => {
  const state = adamState(graph.variable('p', field));
  resetAdam(state);
  adam(state, graph.input('g', field), { rate: 0.1 });
});
collect((graph) => {
  const p = graph.variable('p', field),
    g = graph.input('g', field),
    rate = graph.input('rate', [1]),
    clip = gradientClip([g], 1);
  for (const options of [{ rate }, { rate: 0.1, clip }, { rate, clip }]) adam(adamState(p), g, options);
  ema(graph.variable('average', field), p, 0.9);
});
collect((graph) => void graph.output(gaussianField(graph.input('seed', [1]), field)));
collect((graph) => {
  const [u, v] = [graph.input('u', field), graph.input('v', field)];
  differentiate(graph, softNormalize(compose(u, v), 0.5, 0.1), [u, v]);
});
collect((graph) => {
  const { warped, gradient } = warpWithGradient(withGradient(graph.input('moving', image)), graph.input('u', field));
  const { force, similarity } = lnccForce(localStatistics(graph.input('fixed', image), [3, 5, 7]), warped, gradient);
  [force, similarity].forEach((t) => graph.output(t));
});
collect((graph) => {
  const u = ['i', 'j', 'k'].map((axis) => graph.input(axis, [1, 1, 3, 4, 5])) as [Tensor, Tensor, Tensor];
  graph.output(inverse(u, [4, 4, 4], identity, { tolerance: 0.005, iterations: 40 }).v);
});
for (const part of ['warped', 'gradient'] as const) {
  collect((graph) => {
    const u = graph.input('u', field);
    differentiate(graph, warpWithGradient(withGradient(graph.input('moving', image)), u)[part], [u]);
  });
}
for (const method of ['equilibrium', 'adam'] as const) {
  const fixed = { size: [20, 17, 9] as [number, number, number], affine: [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0] };
  const moving = { size: [16, 18, 10] as [number, number, number], affine: [0, 2, 0, 1, -2, 0, 0, 30, 0, 0, 4, 1] };
  const window = { modality: 'mri' as const, low: 0, high: 1 };
  const options = resolveOptions({ method }, fixed);
  const setting = { windows: { fixed: window, moving: window }, masks: { fixed: method === 'adam', moving: true } };
  note(traceRegistration(fixed, moving, options, { ...setting, transform: identityAffine }).graph);
  note(traceAffine(fixed, moving, { ...setting, factors: [2, 1] }).graph);
}
for (const cell of Object.keys(cells) as (keyof typeof cells)[])
  for (const similarity of similarityJacobians)
    for (const dtype of ['f32', 'f16'] as const)
      note(
        traceTrainingStep({ cell, similarity, dtype, channels: 5, grid: unitGrid([9, 11, 10]), adjoint: { adjoint: 'implicit' } }).graph,
      );

const files = readdirSync(at('kernels')).filter((file) => file.endsWith('.wgsl'));

test('every kernel file is launched by some op', () => {
  const launched = new Set([...variants.values()].map(({ kernel }) => `${kernel.name}.wgsl`));
  assert.equal(
    files.filter((file) => !launched.has(file)),
    [],
  );
});

test('no kernel binds more buffers than every WebGPU device allows', () => {
  const counts = [...variants.values()].map(({ kernel }) => ({
    name: kernel.name,
    buffers: kernel.bindings.filter((b) => b.access !== 'params').length,
  }));
  assert.equal(
    counts.filter(({ buffers }) => buffers > 8),
    [],
  ); // the default of maxStorageBuffersPerShaderStage
});

const device = await gpu();
const offered = [...variants].filter(([, { constants }]) => constants.real !== 'f16' || device.device.features.has('shader-f16'));
if (offered.length < variants.size) console.log(`kernels: the adapter has no shader-f16; ${variants.size - offered.length} variants wait`);

test(`${offered.length} variants compile without a message`, async () => {
  const messages: string[] = [];
  device.device.pushErrorScope('validation');
  for (const [code, { kernel, constants }] of offered) {
    const { messages: found } = await device.device.createShaderModule({ code }).getCompilationInfo();
    messages.push(...found.map((m) => `${kernel.name}.wgsl:${m.lineNum} ${m.type}: ${m.message} (${JSON.stringify(constants)})`));
  }
  await device.device.popErrorScope();
  assert.equal(messages, []);
  await Promise.all(offered.map(([, { kernel, constants }]) => device.pipeline(kernel, constants)));
  await device.idle(); // a layout that does not fit the text surfaces here
});

test('a kernel file says first what it computes, in 150 lines at most', () => {
  for (const file of [...files, ...readdirSync(at('kernels/lib')).map((file) => `lib/${file}`)]) {
    const lines = readFileSync(at('kernels', file), 'utf8').trimEnd().split('\n');
    assert.match(lines[0], /^\/\/ \S/, file);
    assert.ok(lines.length <= 150, `${file}: ${lines.length} lines`);
  }
});

const body = (text: string) => `// y = x\n${text}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // var<storage, read> not this one
@compute @workgroup_size(WG) fn main(@builtin(global_invocation_id) id: vec3u) {
  y[id.x] = x[id.x];
}
`;

test('bindings and parameters are read from the text', () => {
  const k = kernel(
    'copy',
    body(
      'struct Params { n: u32, shift: i32, // a comment, with a comma\n scale: f32 }\n@group(0) @binding(7) var<uniform> params: Params;',
    ),
  );
  assert.equal(k.params, [
    { name: 'n', type: 'u32' },
    { name: 'shift', type: 'i32' },
    { name: 'scale', type: 'f32' },
  ]);
  assert.equal(k.bindings, [
    { index: 7, name: 'params', access: 'params', real: false },
    { index: 0, name: 'x', access: 'read', real: false },
    { index: 1, name: 'y', access: 'read_write', real: false },
  ]);
  assert.throws(
    () => kernel('k', body('struct Params { size: vec3u }')),
    /kernels\/k\.wgsl: Params may hold u32, i32, f32 and, first, an array of vec4f, got "size: vec3u"/,
  );
  assert.throws(() => kernel('k', body('struct Params { n: u32 }')), /struct Params and a uniform binding come together/);
  assert.throws(() => kernel('k', body('@group(0) @binding(7) var<uniform> params: u32;')), /come together/);
});

test('specialise: constants stand on line 1, libraries at the end, and what cannot be is refused', () => {
  const k = kernel(
    'copy',
    body('// @use index\n// @use items$LANES\n// @const SCALE: f32  a factor\n// @const SHIFT: i32\n// @const TWICE: bool  or once'),
  );
  const given = { WG: 64, LANES: 4, SCALE: 0.5, SHIFT: -1, TWICE: true };
  const code = specialise(k, given);
  assert.ok(
    code.startsWith('const WG = 64u; const LANES = 4u; const SCALE = 5.000000000e-1f; const SHIFT = -1i; const TWICE = true; // y = x\n'),
  );
  assert.ok(code.includes('fn flat_index') && code.includes('alias item = vec4f'));
  assert.equal(code.split('\n').slice(1, 9), k.source.split('\n').slice(1, 9));
  const chosen = specialise(kernel('k', body('// @use weights_$WEIGHTS')), { WG: 64, WEIGHTS: 'uniform' });
  assert.ok(chosen.startsWith('const WG = 64u; // y = x\n') && chosen.includes('fn weight('), 'a word picks the file, and is no constant');
  assert.throws(() => specialise(k, { ...given, TILE: 2 }), /kernels\/copy\.wgsl: constants missing \[\], unknown \[TILE\]/);
  assert.throws(() => specialise(k, { WG: 64, LANES: 4, SCALE: 1 }), /constants missing \[SHIFT, TWICE\], unknown \[\]/);
  assert.throws(() => specialise(k, { WG: 64 }), /no library kernels\/lib\/itemsundefined\.wgsl/);
  assert.throws(
    () => specialise(kernel('k', body('// @use nothing')), { WG: 64 }),
    /kernels\/k\.wgsl: no library kernels\/lib\/nothing\.wgsl/,
  );
  for (const wrong of [{ WG: 64.5 }, { WG: -1 }, { SHIFT: 0.5 }, { TWICE: 1 }, { SCALE: true }, { SCALE: NaN }])
    assert.throws(() => specialise(k, { ...given, ...wrong }), /constant \w+ is (u32|i32|f32|bool), got /);
  const nested = specialise(kernel('k', body('// @use corners\n// @use trilinear')), { WG: 64 });
  assert.is(nested.split('fn locate(').length, 2, 'what a library uses comes along, once');
});

test('@unroll writes loops out: rounds with numbers in them, lines where they were', () => {
  const text = [
    'a',
    'for (var i = 0u; i < N; i++) { // @unroll: said why',
    '  f(i); // not i',
    '  for (var ij = 1u; ij < 6u; ij += STEP) { // @unroll',
    '    g(i, ij, { i });',
    '  }',
    '}',
    'for (var k = 0u; k < N; k++) { h(k); }',
  ];
  const code = unroll('k', text.join('\n'), { N: 2, STEP: '3i' }).split('\n');
  assert.equal(code.length, text.length);
  assert.is(code[1].replace(/\s/g, ''), '{f(0u);{g(0u,1u,{0u});}{g(0u,4u,{0u});}}{f(1u);{g(1u,1u,{1u});}{g(1u,4u,{1u});}}');
  assert.equal([code[0], code.at(-1)], [text[0], text.at(-1)]);
  const loop = (head: string) => () => unroll('k', `${head} { // @unroll\n f(i); }`, { N: 0, STEP: 0 });
  assert.is(loop('for (var i = 0u; i < N; i++)')().trim(), '');
  assert.throws(loop('for (var i = 0u; i < M; i++)'), /kernels\/k\.wgsl: @unroll: M is no constant of its launch, as N, STEP are/);
  assert.throws(loop('for (var i = 0u; i < 4u; i += STEP)'), /steps of STEP = 0/);
  assert.throws(
    () => unroll('k', 'for (var i = 0u; i < N; i++) { // @unroll\n { // no end', { N: 2 }),
    /kernels\/k\.wgsl: @unroll: a loop does not close: for/,
  );
  const body = (text: string) => unroll('k', `for (var i = 0u; i < 2; i++) { // @unroll\n ${text} }`, {});
  assert.match(body('for (var j = 0u; j < i; j++) { if (j == 2u) { break; } } f(i);'), /break.*break/);
  assert.throws(() => body('loop { break; } if (i == 1u) { continue; } f(i);'), /@unroll: continue would leave a loop that is written out/);
  assert.throws(loop('for (var i = 0u; i <= N; i++)'), /@unroll takes .*got "for \(var i = 0u; i <= N; i\+\+\) \{ \/\/ @unroll"/);
});

test('an error in a kernel is reported with its file and line', async () => {
  const device = await gpu();
  const source = body('// @use index').replace('y[id.x] = x[id.x]', 'y[id.x] = nonsense');
  const line = source.split('\n').findIndex((text) => text.includes('nonsense')) + 1;
  assert.match(
    await rejection(device.pipeline(kernel('copy', source), { WG: 64 })),
    new RegExp(`^kernels/copy\\.wgsl:${line}:\\d+ .*nonsense`),
  );
  // Without the constant WG, the library index.wgsl is at fault, in its third line.
  assert.match(
    await rejection(device.pipeline(kernel('copy', source.replace('(WG)', '(64)').replace('nonsense', 'flat_index(id, id)')))),
    /^kernels\/lib\/index\.wgsl:3:\d+ .*WG/,
  );
  device.check(); // told once: the device does not report it a second time
});

test('packParams: a list comes first, filled up to whole vectors', () => {
  const k = kernel('k', '@group(0) @binding(0) var<uniform> params: Params;\nstruct Params { list: array<vec4f, N / 4 + 1>, n: u32 }');
  assert.equal([...new Float32Array(packParams(k, { list: [1, 2, 3, 4, 5], n: 0 }))], [1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0]);
  assert.throws(() => packParams(k, { list: 1, n: 0 }), /parameter list is 1, not a list of numbers/);
  assert.throws(() => packParams(k, { list: [1], n: [2] }), /parameter n is 2/);
});

test('packParams packs by name and refuses what is missing, unknown or does not fit', () => {
  const k = kernel('k', body('struct Params { n: u32, shift: i32, scale: f32 }\n@group(0) @binding(7) var<uniform> params: Params;'));
  const packed = new DataView(packParams(k, { scale: 0.5, n: 4294967295, shift: -2 }));
  assert.equal(
    [packed.byteLength, packed.getUint32(0, true), packed.getInt32(4, true), packed.getFloat32(8, true)],
    [12, 4294967295, -2, 0.5],
  );
  const good = { n: 1, shift: 1, scale: 1 };
  for (const [values, message] of [
    [{ n: 1, scale: 1 }, /kernels\/k\.wgsl: parameter shift is undefined/],
    [{ ...good, scale: NaN }, /parameter scale is NaN/],
    [{ ...good, n: 1.5 }, /parameter n is u32, got 1.5/],
    [{ ...good, n: -1 }, /parameter n is u32, got -1/],
    [{ ...good, n: 2 ** 32 }, /parameter n is u32, got 4294967296/],
    [{ ...good, shift: 2 ** 31 }, /parameter shift is i32, got 2147483648/],
    [{ ...good, more: 1 }, /unknown parameter more/],
  ] as const)
    assert.throws(() => packParams(k, values), message);
});

test.run();
