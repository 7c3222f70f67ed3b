// A command's options, declared in one table: parsed strictly, checked by name, and printed as its help.
import { parseArgs } from 'node:util';
import { MAX_VOXELS } from '../io/nifti-header.ts';

/** Wrong usage: exit code 2. The message names the option. */
export class UsageError extends Error {}

/** An option with a value. `parse` throws, without the option's name, on a text it cannot use. */
export interface Option<T = unknown> {
  value: string;
  parse: (text: string) => T;
  required?: boolean;
  help: string;
}
/** An option without a value. */
export interface Flag {
  help: string;
}
export type Options = Record<string, Option | Flag>;

type Value<O> = O extends { parse: (text: string) => infer T } ? (O extends { required: true } ? T : T | undefined) : boolean;
export type Values<O> = { [K in keyof O]: Value<O[K]> };

export interface Command {
  summary: string;
  usage: string;
  options: Options;
  /** Does it, and returns the exit code. */
  run(args: string[]): Promise<number>;
}

export const text = (value: string): string => value || fail('empty');

export function number(value: string): number {
  const parsed = Number(value);
  return value.trim() && Number.isFinite(parsed) ? parsed : fail(`not a number: ${value}`);
}

export function whole(value: string): number {
  const parsed = number(value);
  return Number.isSafeInteger(parsed) ? parsed : fail(`not a whole number: ${value}`);
}

/** Of a structure in a label map. */
export const label = (value: string): number => whole(value) || fail('0 is the background, which has no overlap to measure');

export const list =
  <T>(parse: (text: string) => T) =>
  (value: string): T[] =>
    value.split(',').map((item) => parse(item.trim()));

export const oneOf =
  <const T extends string>(...choices: T[]) =>
  (value: string): T =>
    choices.find((choice) => choice === value) ?? fail(`${value} is none of ${choices.join(', ')}`);

/** Voxels along (W, H, D) = (i, j, k). */
export function size(value: string): [number, number, number] {
  const parsed = list(whole)(value);
  if (parsed.length !== 3) fail(`three whole numbers W,H,D are needed, got ${value}`);
  const voxels = parsed.reduce((a, b) => a * b);
  return voxels <= MAX_VOXELS
    ? (parsed as [number, number, number])
    : fail(`${value}: ${voxels} voxels; at most ${MAX_VOXELS} are supported`);
}

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'];

/** Bytes of a text such as 8GiB (2³⁰), 8GB (10⁹) or 8192MiB. */
export function memory(value: string): number {
  const [, amount, unit] =
    /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(value) ??
    fail(`a number and its unit are needed, such as 8GiB, 8GB or 8192MiB; got ${value}`);
  const power = UNITS.indexOf(unit.toUpperCase().replace('IB', 'B'));
  if (power < 0) fail(`unknown unit ${unit}; use MiB, GiB, MB or GB`);
  const bytes = Math.floor(Number(amount) * (/ib$/i.test(unit) ? 1024 : 1000) ** power);
  return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : fail(`${value} is no amount of memory`);
}

function fail(message: string): never {
  throw new UsageError(message);
}

/**
 * The values of a command's options. Throws a UsageError on what the table does not allow. Arguments that belong to no option are
 * appended to `rest`, and refused without it.
 */
export function parse<O extends Options>(options: O, args: string[], rest?: string[]): Values<O> {
  const given = new Map<string, string | true>();
  for (const token of tokensOf(options, args, !!rest)) {
    if (token.kind === 'positional') rest!.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, value } = token;
    if (given.has(name)) fail(`--${name} is given twice`);
    given.set(name, value ?? true);
  }
  return Object.fromEntries(
    Object.entries(options).map(([name, option]) => {
      const value = given.get(name);
      if (!('parse' in option)) return [name, value === true];
      if (value === undefined) return [name, option.required ? fail(`--${name} ${option.value} is missing`) : undefined];
      try {
        return [name, option.parse(value as string)];
      } catch (error) {
        throw new UsageError(`--${name}: ${(error as Error).message}`);
      }
    }),
  ) as Values<O>;
}

/**
 * `--lambda -1` as `--lambda=-1`: the parser takes a value with a minus for another option, and the option's own check says what is wrong.
 */
function joinNegative(options: Options, args: string[]): string[] {
  return args.reduce<string[]>((joined, arg) => {
    const option = joined.at(-1) ?? '';
    const takes = option.startsWith('--') && 'parse' in (options[option.slice(2)] ?? {});
    return takes && /^-[\d.]/.test(arg) ? [...joined.slice(0, -1), `${option}=${arg}`] : [...joined, arg];
  }, []);
}

function tokensOf(options: Options, given: string[], allowPositionals: boolean) {
  const args = joinNegative(options, given);
  const config = Object.fromEntries(
    Object.entries(options).map(([name, option]) => [name, { type: 'parse' in option ? ('string' as const) : ('boolean' as const) }]),
  );
  try {
    return parseArgs({ args, options: config, strict: true, tokens: true, allowPositionals }).tokens;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error;
    const [what] = message.split(/\.?(?:\s*\n|\. )/); // what follows is advice for programmers
    return fail(`${what[0].toLowerCase()}${what.slice(1)}; --help lists the options`);
  }
}

/** A command's help: its usage, what it does, its options. */
export function help({ summary, usage, options }: Command): string {
  const rows = Object.entries(options).map(([name, option]) => [`--${name}${'parse' in option ? ` ${option.value}` : ''}`, option.help]);
  return [`usage: ${usage}`, '', sentence(summary), ...(rows.length ? ['', ...table(rows)] : [])].join('\n');
}

/** Two columns, indented by two spaces. */
export function table(rows: string[][]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}

const sentence = (words: string) => `${words[0].toUpperCase()}${words.slice(1)}.`;
