// The .safetensors format: a file made by hand, what is written is read back, other dtypes, and headers that lie.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeSafetensors, type NamedArray, parseSafetensors } from '../src/io/safetensors.ts';

/** A file: header length, header, values. */
function file(header: unknown, values: Uint8Array | number = 0, length?: number | bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const data = typeof values === 'number' ? new Uint8Array(values) : values;
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length ?? json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}
const entry = (shape: unknown, begin: number, end: number, dtype = 'F32') => ({ dtype, shape, data_offsets: [begin, end] });

test('a file made by hand', () => {
  const header = '{"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}  '; // 58 characters, two spaces as filling
  const bytes = Uint8Array.of(58, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode(header), 0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x20, 0xc1);
  const { tensors, metadata } = parseSafetensors('hand', bytes);
  assert.equal([...tensors], [['w', { shape: [1, 2], data: Float32Array.of(1, -10) }]]);
  assert.equal(metadata, {});
});

const tensors = new Map<string, NamedArray>([
  ['encoder.0.weight', { shape: [2, 1, 3, 3, 3], data: Float32Array.from({ length: 54 }, (_, i) => Math.sin(i)) }],
  ['encoder.0.bias', { shape: [2], data: Float32Array.of(-0, 1e-40) }],
  ['größe "π"', { shape: [], data: Float32Array.of(Infinity) }],
  ['nothing', { shape: [0, 3], data: new Float32Array(0) }],
]);

test('what is written is read back, names, shapes, values and metadata, from any place in a buffer', () => {
  const metadata = { format: 'pt', channels: '16' };
  const bytes = encodeSafetensors(tensors, metadata);
  const start = Number(new DataView(bytes.buffer).getBigUint64(0, true)) + 8;
  assert.is(start % 8, 0);
  assert.is(bytes.length, start + 4 * 57);
  assert.equal(parseSafetensors('a', bytes), { tensors, metadata });
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  assert.equal(parseSafetensors('a', shifted.subarray(3)), { tensors, metadata });
  assert.is(parseSafetensors('a', encodeSafetensors(new Map())).tensors.size, 0);
});

test('half precision and bfloat16 are widened', () => {
  const read = (dtype: string, ...bits: number[]) => {
    const bytes = file({ x: entry([bits.length], 0, 2 * bits.length, dtype) }, new Uint8Array(Uint16Array.from(bits).buffer));
    return [...parseSafetensors('h', bytes).tensors.get('x')!.data];
  };
  assert.equal(read('F16', 0x3c00, 0xc000, 0x3555, 0x0001, 0x8000, 0x7bff, 0x7c00, 0xfc00), [
    1,
    -2,
    0.333251953125,
    2 ** -24,
    -0,
    65504,
    Infinity,
    -Infinity,
  ]);
  assert.equal(read('BF16', 0x3f80, 0xc000, 0x3eab, 0x0001, 0x7f80), [1, -2, 0.333984375, 2 ** -133, Infinity]);
  assert.ok(Number.isNaN(read('F16', 0x7e00)[0]) && Number.isNaN(read('BF16', 0x7fc0)[0]));
});

const hostile: [string, Uint8Array, RegExp][] = [
  ['too short', new Uint8Array(7), /^f: 7 bytes are no \.safetensors file$/],
  ['a header beyond the file', file('{}', 0, 3), /^f: the header takes 3 bytes, the file has 10; it is cut off/],
  ['a header of 2⁶⁴ − 1 bytes', file('{}', 0, 2n ** 64n - 1n), /^f: a header of 18446744073709552000 bytes/],
  ['no JSON', file('{"a":'), /^f: no .safetensors file, or a damaged one: its header is no JSON: /],
  ['no UTF-8', file('{"a":1}').map((b) => (b === 0x61 ? 0xff : b)), /^f: no .safetensors file, or a damaged one: its header is no JSON: /],
  ['a list', file([]), /^f: the header is no JSON object/],
  [
    'a name twice',
    file(`{"a":${JSON.stringify(entry([1], 0, 4))},"\\u0061" :${JSON.stringify(entry([1], 0, 4))}}`, 4),
    /^f: the header has "a" twice$/,
  ],
  ['a field twice', file('{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}'), /^f: the header has "dtype" twice$/],
  ['an entry that is none', file({ a: 3 }), /^f: tensor "a": its entry is no object/],
  ['another dtype', file({ a: entry([1], 0, 8, 'I64') }, 8), /^f: tensor "a": dtype "I64" is not read; save it as one of F32, F16, BF16$/],
  ['a dtype of every object', file({ a: entry([1], 0, 4, 'constructor') }, 4), /^f: tensor "a": dtype "constructor" is not read/],
  ['no dtype', file({ a: { shape: [1], data_offsets: [0, 4] } }, 4), /dtype undefined is not read/],
  ['a negative size', file({ a: entry([-1, -1], 0, 4) }, 4), /^f: tensor "a": shape \[-1,-1\] is no list of whole numbers/],
  ['a broken size', file({ a: entry([0.5, 2], 0, 4) }, 4), /shape \[0\.5,2\]/],
  ['no shape', file({ a: entry('1', 0, 4) }, 4), /shape "1" is no list/],
  [
    'sizes whose product is too large',
    file({ a: entry([2 ** 40, 2 ** 40], 0, 4) }, 4),
    /takes 4\.8\d*e\+24 bytes, data_offsets \[0,4\] hold 4/,
  ],
  [
    'three offsets',
    file({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 4, 8] } }, 8),
    /data_offsets \[0,4,8\] are no two whole numbers/,
  ],
  ['offsets that run backwards', file({ a: entry([1], 4, 0) }, 4), /data_offsets \[4,0\] lie outside the file's 4 bytes/],
  [
    'offsets beyond the file',
    file({ a: entry([2], 0, 8) }, 4),
    /^f: tensor "a": data_offsets \[0,8\] lie outside the file's 4 bytes of values$/,
  ],
  [
    'a shape that needs more',
    file({ a: entry([3], 0, 8) }, 8),
    /^f: tensor "a": F32 of shape \[3\] takes 12 bytes, data_offsets \[0,8\] hold 8$/,
  ],
  [
    'overlapping ranges',
    file({ a: entry([2], 0, 8), b: entry([1], 4, 8) }, 8),
    /^f: tensor "b" begins at byte 4 of the values, where 8 was due: the byte ranges overlap$/,
  ],
  [
    'a gap',
    file({ a: entry([1], 0, 4), b: entry([1], 8, 12) }, 12),
    /^f: tensor "b" begins at byte 8 of the values, where 4 was due: the byte ranges leave a gap$/,
  ],
  ['bytes left over', file({ a: entry([1], 0, 4) }, 7), /^f: 3 bytes behind the last tensor$/],
  ['metadata that is no text', file({ __metadata__: { epoch: 3 } }), /^f: __metadata__ must map names to strings$/],
];
for (const [name, bytes, message] of hostile) test(`refused: ${name}`, () => assert.throws(() => parseSafetensors('f', bytes), message));

test('refused: values that do not fit their shape, and the name of the metadata', () => {
  const data = new Float32Array(3);
  assert.throws(() => encodeSafetensors(new Map([['w', { shape: [2, 2], data }]])), /tensor "w" of shape \[2,2\] needs 4 values, got 3/);
  assert.throws(() => encodeSafetensors(new Map([['__metadata__', { shape: [3], data }]])), /no tensor can be named __metadata__/);
  const odd = new Map([['w', { shape: [-1, -3], data }]]);
  assert.throws(() => encodeSafetensors(odd), /tensor "w": shape \[-1,-3\] is no list of whole numbers/);
  const metadata = { epoch: 3 } as unknown as Record<string, string>;
  assert.throws(() => encodeSafetensors(new Map(), metadata), /metadata "epoch" must be a string, got 3/);
});

test('a name of every object is a name like any other', () => {
  const odd = new Map([
    ['__proto__', { shape: [1], data: Float32Array.of(1) }],
    ['constructor', { shape: [1], data: Float32Array.of(2) }],
    ['7', { shape: [1], data: Float32Array.of(3) }],
  ]);
  assert.equal([...parseSafetensors('o', encodeSafetensors(odd)).tensors].sort(), [...odd].sort());
});

test.run();
