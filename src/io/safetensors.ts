// The .safetensors format: 8 bytes of header length, a JSON header (name → dtype, shape, byte range), then the values, little-endian.
// https://github.com/huggingface/safetensors. Read: F32, and F16 and BF16 widened to f32. Written: F32.
import { bytesOf, type Content } from './bytes.ts';
import { isObject, repeatedKey } from './json.ts';

/** Values in row-major order, of a shape as PyTorch has it. */
export interface NamedArray {
  shape: readonly number[];
  data: Float32Array;
}

export interface Safetensors {
  tensors: Map<string, NamedArray>;
  metadata: Record<string, string>;
}

const HEADER_LIMIT = 100_000_000; // that of the format's own implementation
const METADATA = '__metadata__';

/** The half-precision number of 16 bits. */
function half(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const magnitude =
    exponent === 31 ? (fraction ? NaN : Infinity) : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
  return bits & 0x8000 ? -magnitude : magnitude;
}

const word = new DataView(new ArrayBuffer(4));
/** The bfloat16 number of 16 bits: the upper half of a float32. */
const brain = (bits: number): number => (word.setUint32(0, bits << 16), word.getFloat32(0));

interface Dtype {
  bytes: number;
  read(view: DataView, at: number): number;
}
const dtypes = new Map<unknown, Dtype>([
  ['F32', { bytes: 4, read: (view, at) => view.getFloat32(at, true) }],
  ['F16', { bytes: 2, read: (view, at) => half(view.getUint16(at, true)) }],
  ['BF16', { bytes: 2, read: (view, at) => brain(view.getUint16(at, true)) }],
]);

const isWhole = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;

interface Entry {
  name: string;
  dtype: Dtype;
  shape: number[];
  begin: number;
  end: number;
}

/** Takes one tensor's header entry apart; `fail` names the file and the tensor. */
function parseEntry(name: string, value: unknown, dataBytes: number, fail: (what: string) => never): Entry {
  if (!isObject(value)) fail('its entry is no object');
  const { dtype: code, shape, data_offsets: offsets } = value as Record<string, unknown>;
  const dtype = dtypes.get(code) ?? fail(`dtype ${JSON.stringify(code)} is not read; save it as one of ${[...dtypes.keys()].join(', ')}`);
  if (!Array.isArray(shape) || !shape.every(isWhole)) fail(`shape ${JSON.stringify(shape)} is no list of whole numbers`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isWhole)) {
    fail(`data_offsets ${JSON.stringify(offsets)} are no two whole numbers`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) fail(`data_offsets [${begin},${end}] lie outside the file's ${dataBytes} bytes of values`);
  const expected = dtype.bytes * (shape as number[]).reduce((product, n) => product * n, 1);
  if (end - begin !== expected)
    fail(`${code} of shape [${shape}] takes ${expected} bytes, data_offsets [${begin},${end}] hold ${end - begin}`);
  return { name, dtype, shape: shape as number[], begin, end };
}

/**
 * Reads a whole file; `file` is its name for messages. Throws on a header that is cut off, is no JSON or has a name twice, on byte ranges
 * that overlap, leave a gap, lie outside the file or do not fit the shape, and on other dtypes.
 */
export function parseSafetensors(file: string, content: Content): Safetensors {
  const bytes = bytesOf(content);
  const fail = (what: string): never => {
    throw new Error(`${file}: ${what}`);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8) fail(`${bytes.length} bytes are no .safetensors file`);
  const headerBytes = Number(view.getBigUint64(0, true)),
    start = 8 + headerBytes;
  if (headerBytes > HEADER_LIMIT) fail(`a header of ${headerBytes} bytes; is it a .safetensors file?`);
  if (start > bytes.length)
    fail(`the header takes ${headerBytes} bytes, the file has ${bytes.length}; it is cut off, or no .safetensors file`);
  let header: unknown,
    text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, start));
    header = JSON.parse(text);
  } catch (error) {
    fail(`no .safetensors file, or a damaged one: its header is no JSON: ${(error as Error).message}`);
  }
  if (!isObject(header)) fail('the header is no JSON object');
  const twice = repeatedKey(text);
  if (twice !== undefined) fail(`the header has "${twice}" twice`);
  const { [METADATA]: metadata = {}, ...rest } = header as Record<string, unknown>;
  if (!isObject(metadata) || !Object.values(metadata).every((v) => typeof v === 'string')) fail(`${METADATA} must map names to strings`);

  const dataBytes = bytes.length - start;
  const entries = Object.entries(rest).map(([name, value]) =>
    parseEntry(name, value, dataBytes, (what) => fail(`tensor "${name}": ${what}`)),
  );
  let at = 0;
  for (const { name, begin, end } of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    const fault = begin < at ? 'overlap' : 'leave a gap';
    if (begin !== at) fail(`tensor "${name}" begins at byte ${begin} of the values, where ${at} was due: the byte ranges ${fault}`);
    at = end;
  }
  if (at !== dataBytes) fail(`${dataBytes - at} bytes behind the last tensor`);

  const tensors = new Map(
    entries.map(({ name, dtype, shape, begin, end }) => {
      const data = Float32Array.from({ length: (end - begin) / dtype.bytes }, (_, i) => dtype.read(view, start + begin + dtype.bytes * i));
      return [name, { shape, data }];
    }),
  );
  return { tensors, metadata: metadata as Record<string, string> };
}

/** The bytes of a file with these tensors as F32, in this order. */
export function encodeSafetensors(tensors: ReadonlyMap<string, NamedArray>, metadata: Record<string, string> = {}): Uint8Array {
  const odd = Object.entries(metadata).find(([, value]) => typeof value !== 'string');
  if (odd) throw new Error(`safetensors: metadata "${odd[0]}" must be a string, got ${odd[1]}`);
  let end = 0;
  const entries = [...tensors].map(([name, { shape, data }]) => {
    if (name === METADATA) throw new Error(`safetensors: no tensor can be named ${METADATA}`);
    if (!shape.every(isWhole)) throw new Error(`safetensors: tensor "${name}": shape [${shape}] is no list of whole numbers`);
    const count = shape.reduce((product, n) => product * n, 1);
    if (data.length !== count)
      throw new Error(`safetensors: tensor "${name}" of shape [${shape}] needs ${count} values, got ${data.length}`);
    return [name, { dtype: 'F32', shape, data_offsets: [end, (end += 4 * count)] }];
  });
  const json = JSON.stringify(Object.fromEntries([...(Object.keys(metadata).length ? [[METADATA, metadata]] : []), ...entries]));
  const header = new TextEncoder().encode(json);
  const start = 8 * Math.ceil((8 + header.length) / 8); // values on a multiple of 8, spaces before them
  const bytes = new Uint8Array(start + end).fill(0x20, 0, start);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(start - 8), true);
  bytes.set(header, 8);
  let at = start;
  for (const { data } of tensors.values()) for (const value of data) view.setFloat32((at += 4) - 4, value, true);
  return bytes;
}
