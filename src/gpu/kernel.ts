// A kernel is a .wgsl file: this reads its bindings and parameters from the text, so that names and order have one source.
import { libraries } from './libraries.ts';
import { unroll } from './unroll.ts';

/** `params`: the parameters. `uniform`: a tensor that is read through a uniform binding, at most UNIFORM_BYTES. */
export type Access = 'read' | 'read_write' | 'uniform' | 'params';
/** What every WebGPU device binds as uniform. */
export const UNIFORM_BYTES = 65536;
export interface Binding {
  index: number;
  name: string;
  access: Access;
  /** Its elements are of the kernel's storage type `real`, f32 or f16, or several of them (lib/reals4.wgsl). */
  real: boolean;
}
export interface ParamField {
  name: string;
  /** `vec4f`: an array of them, the first field of all. */
  type: 'u32' | 'i32' | 'f32' | 'vec4f';
}
/** Values for a kernel's parameters by name: a number each, or a list where the field is an array of vec4f, filled up with 0. */
export type Params = Record<string, number | readonly number[]>;

/**
 * Values for the constants that a kernel and its libraries declare by `// @const NAME: type  meaning`; strings stand as they are. Beside
 * them WG, WG_X and WG_Y, invocations of a workgroup; and `real`, the storage type that replaces f32 in the file's `alias real = f32;`.
 */
export type Constants = Record<string, number | boolean | string>;

export interface Kernel {
  name: string;
  source: string;
  bindings: Binding[];
  params: ParamField[];
}

const BINDING =
  /@group\(0\)\s*@binding\((\d+)\)\s*var<\s*(storage|uniform)\s*(?:,\s*(read|read_write)\s*)?>\s*(\w+)\s*:\s*(?:array<\s*(\w+))?/g;
const PARAMS = /struct\s+Params\s*\{([^}]*)\}/;
const FIELD = /(\w+)\s*:\s*(?:(u32|i32|f32)\b|array<(vec4f)\b[^>]*>|([^,]+))/g;

/**
 * Reads a kernel's text. House style: one bind group, storage bindings named as in the formula, and at most one uniform `params: Params`, a
 * struct of 4-byte scalars, before them one array of vec4f at most (so that packing needs no alignment rules). Other uniforms are tensors.
 */
export function kernel(name: string, source: string): Kernel {
  const body = source.replace(/\/\/.*$/gm, '');
  const bindings = [...body.matchAll(BINDING)].map(([, i, space, access, binding, element]) => ({
    index: Number(i),
    name: binding,
    access: (space === 'storage' ? (access ?? 'read') : binding === 'params' ? 'params' : 'uniform') as Access,
    real: element === 'real' || element === 'reals',
  }));
  const params = [...(PARAMS.exec(body)?.[1] ?? '').matchAll(FIELD)].map(([text, field, scalar, vector], i) => {
    const type = scalar ?? (i === 0 ? vector : undefined);
    if (!type) throw new Error(`kernels/${name}.wgsl: Params may hold u32, i32, f32 and, first, an array of vec4f, got "${text.trim()}"`);
    return { name: field, type: type as ParamField['type'] };
  });
  if (params.length > 0 !== bindings.some((b) => b.access === 'params')) {
    throw new Error(`kernels/${name}.wgsl: struct Params and a uniform binding come together`);
  }
  return { name, source, bindings, params };
}

/**
 * The WGSL that is compiled: constants on the line of the file's first line (error lines stay the file's), libraries at the end, loops
 * written out that ask for it.
 */
export function specialise(k: Kernel, { real = 'f32', ...constants }: Constants): string {
  const { names, choices } = librariesOf(k, constants);
  const types = new Map([
    ...WORKGROUP.map((name) => [name, 'u32'] as const),
    ...choices.filter((name) => typeof constants[name] === 'number').map((name) => [name, 'u32'] as const),
    ...[k.source, ...names.map((name) => libraries[name])].flatMap(declared),
  ]);
  const missing = [...types.keys()].filter((name) => !WORKGROUP.includes(name) && !(name in constants));
  const unknown = Object.keys(constants).filter((name) => !types.has(name) && !choices.includes(name));
  if (missing.length || unknown.length)
    throw new Error(`kernels/${k.name}.wgsl: constants missing [${missing.join(', ')}], unknown [${unknown.join(', ')}]`);
  const header = Object.entries(constants)
    .filter(([name]) => types.has(name))
    .map(([name, value]) => `const ${name} = ${literal(k, name, types.get(name)!, value)};`);
  if (real === 'f16') header.unshift('enable f16;');
  return [
    `${header.join(' ')} ${unroll(k.name, k.source, constants).replace('alias real = f32;', `alias real = ${real};`)}`,
    ...names.map((name) => unroll(`lib/${name}`, libraries[name], constants)),
  ].join('\n');
}

const WORKGROUP = ['WG', 'WG_X', 'WG_Y'];
const CONST = /^\/\/ @const (\w+): (\S+(?: \S+)*?)(?: {2,}.*)?$/gm;

/** The constants that a file declares, and their types. */
const declared = (text: string): [name: string, type: string][] => [...text.matchAll(CONST)].map(([, name, type]) => [name, type]);

/** A constant's value as WGSL of its type. */
function literal(k: Kernel, name: string, type: string, value: number | boolean | string): string {
  const wrong = () => new Error(`kernels/${k.name}.wgsl: constant ${name} is ${type}, got ${value}`);
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || type === 'bool') {
    if (typeof value !== 'boolean' || type !== 'bool') throw wrong();
    return String(value);
  }
  if (type === 'f32' && Number.isFinite(value)) return `${value.toExponential(9)}f`;
  if (!Number.isInteger(value) || !(type === 'i32' || (type === 'u32' && value >= 0))) throw wrong();
  return `${value}${type[0]}`;
}

/** File and line of a line of the specialised text, for error messages. */
export function placeOf(k: Kernel, constants: Constants, line: number): string {
  let rest = line;
  for (const [file, text] of [[k.name, k.source], ...librariesOf(k, constants).names.map((name) => [`lib/${name}`, libraries[name]])]) {
    const lines = text.split('\n').length;
    if (rest <= lines) return `kernels/${file}.wgsl:${rest}`;
    rest -= lines;
  }
  return `kernels/${k.name}.wgsl:${line}`;
}

const USE = /^\/\/ @use (\w+?)(?:\$(\w+))?\s*$/gm;

/**
 * The libraries that a kernel uses under these constants, each once, those that it names before those that these use; and the constants
 * that pick some.
 */
function librariesOf(k: Kernel, constants: Constants): { names: string[]; choices: string[] } {
  const [names, choices] = [new Set<string>(), new Set<string>()];
  const visit = (text: string) => {
    const used = [...text.matchAll(USE)].map(([, name, choice]) => {
      if (choice) choices.add(choice);
      return `${name}${choice ? constants[choice] : ''}`;
    });
    for (const library of used.filter((name) => !names.has(name))) {
      if (!libraries[library]) throw new Error(`kernels/${k.name}.wgsl: no library kernels/lib/${library}.wgsl`);
      names.add(library);
      visit(libraries[library]);
    }
  };
  visit(k.source);
  return { names: [...names], choices: [...choices] };
}

/** The constants that a library names, `const NAME = 1u;`, for what it shares with the CPU. */
export const constantsOf = (library: string): Record<string, number> =>
  Object.fromEntries([...libraries[library].matchAll(/^const (\w+) = (\d+)u;/gm)].map(([, name, value]) => [name, Number(value)]));

/** Packs named values in the order of the kernel's `struct Params`. Every field must be given, and nothing else. */
export function packParams(k: Kernel, values: Params): ArrayBuffer {
  const fail = (name: string, what: string) => new Error(`kernels/${k.name}.wgsl: parameter ${name} ${what}`);
  const extra = Object.keys(values).filter((name) => !k.params.some((field) => field.name === name));
  if (extra.length) throw new Error(`kernels/${k.name}.wgsl: unknown parameter ${extra.join(', ')}`);
  const [list, ...rest] = k.params[0]?.type === 'vec4f' ? [values[k.params[0].name], ...k.params.slice(1)] : [[], ...k.params];
  if (!Array.isArray(list) || !list.every(Number.isFinite)) throw fail(k.params[0].name, `is ${list}, not a list of numbers`);
  const bytes = 16 * Math.ceil(list.length / 4);
  const view = new DataView(new ArrayBuffer(bytes + (bytes ? 16 * Math.ceil(rest.length / 4) : 4 * rest.length)));
  list.forEach((value: number, i) => view.setFloat32(4 * i, value, true));
  (rest as ParamField[]).forEach(({ name, type }, i) => {
    const value = values[name];
    const at = bytes + 4 * i;
    if (typeof value !== 'number' || Number.isNaN(value)) throw fail(name, `is ${value}`);
    if (type === 'f32') view.setFloat32(at, value, true);
    else if ((type === 'i32' ? value | 0 : value >>> 0) !== value) throw fail(name, `is ${type}, got ${value}`);
    else if (type === 'i32') view.setInt32(at, value, true);
    else view.setUint32(at, value, true);
  });
  return view.buffer;
}
