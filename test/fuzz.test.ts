// Damaged NIfTI headers and gzip streams by the thousand: a volume, or an Error that names the file; no hang, and no memory to speak of.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readDisplacement, readVolume } from '../src/io/files.ts';
import { parseDisplacement, parseNifti } from '../src/io/nifti.ts';
import { makeNifti, random, type MakeNifti } from './io-make-nifti.ts';

const MEBIBYTE = 2 ** 20;
/** The longest that the processor may be at one small input, ms: a walk that never ends takes longer, whatever else the machine does. */
const PATIENCE = 2000;
const cpuTime = () => (({ user, system }) => (user + system) / 1e3)(process.cpuUsage());

const variants: MakeNifti[] = ([1, 2] as const).flatMap((version) =>
  [true, false].flatMap(
    (little) =>
      [
        { version, little, dtype: 'int16', dim: [6, 5, 4], slope: 2, inter: -3 },
        {
          version,
          little,
          dtype: 'float64',
          dim: [6, 5, 4],
          sform: { code: 0, rows: Array(12).fill(0) },
          qform: { code: 1, b: 0, c: 0, d: 0.6, x: 1, y: 2, z: 3 },
        },
        { version, little, dtype: 'float32', dim: [4, 3, 2, 1, 3], intent: 1007 },
      ] as MakeNifti[],
  ),
);
const originals = variants.map((variant) => new Uint8Array(makeNifti(variant).header));

/** Offset and width of the fields that lead readers astray; [NIfTI-1, NIfTI-2]. */
const fields: [at: number, bytes: number][][] = [
  [
    [0, 4],
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((n): [number, number] => [40 + 2 * n, 2]),
    [68, 2],
    [70, 2],
    [72, 2],
    ...[0, 1, 2, 3].map((n): [number, number] => [76 + 4 * n, 4]),
    [108, 4],
    [112, 4],
    [116, 4],
    [123, 1],
    [252, 2],
    [254, 2],
    [256, 4],
    [260, 4],
    [264, 4],
    [268, 4],
    [280, 4],
    [300, 4],
    [320, 4],
    [344, 4],
  ],
  [
    [0, 4],
    [4, 8],
    [12, 2],
    [14, 2],
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((n): [number, number] => [16 + 8 * n, 8]),
    ...[0, 1, 2, 3].map((n): [number, number] => [104 + 8 * n, 8]),
    [168, 8],
    [176, 8],
    [184, 8],
    [344, 4],
    [348, 4],
    [352, 8],
    [360, 8],
    [368, 8],
    [376, 8],
    [400, 8],
    [440, 8],
    [480, 8],
    [500, 4],
    [504, 4],
  ],
];
const integers = [0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 348, 540, 32767, -32768, 65535, 2 ** 31 - 1, -(2 ** 31), 2 ** 32 - 1];
const floats = [0, -0, 1, -1, 1e-40, 1e-30, 1e30, 3.4e38, NaN, Infinity, -Infinity, 0.5, 347, 352, 352.5, 2 ** 31, 2 ** 53];

type Random = () => number;
const pick = <T>(next: Random, from: readonly T[]): T => from[Math.floor(next() * from.length)]!;

/** One to four fields set to values at the edges of their types. */
function mutateFields(next: Random, bytes: Uint8Array, version: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let hits = 1 + Math.floor(next() * 4); hits > 0; hits--) {
    const [at, width] = pick(next, fields[version - 1]),
      little = next() < 0.5,
      float = next() < 0.4;
    if (at + width > bytes.length) continue;
    if (width === 8) {
      if (float) view.setFloat64(at, pick(next, floats), little);
      else
        view.setBigInt64(
          at,
          next() < 0.3 ? BigInt.asIntN(64, 1n << BigInt(Math.floor(next() * 64))) : BigInt(pick(next, integers)),
          little,
        );
    } else if (width === 4) {
      if (float) view.setFloat32(at, pick(next, floats), little);
      else view.setInt32(at, pick(next, integers) | 0, little);
    } else if (width === 2) view.setInt16(at, pick(next, integers), little);
    else view.setUint8(at, pick(next, integers));
  }
}

function flipBits(next: Random, bytes: Uint8Array, end = bytes.length): void {
  for (let hits = 1 + Math.floor(next() * 8); hits > 0; hits--) bytes[Math.floor(next() * end)] ^= 1 << Math.floor(next() * 8);
}

const cut = (next: Random, bytes: Uint8Array) => bytes.subarray(0, Math.floor(next() * bytes.length));

/** Other bytes in front, behind or in the middle. */
function joined(next: Random, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const at = Math.floor(next() * bytes.length);
  return Buffer.concat(
    pick(next, [
      [bytes, other],
      [bytes.subarray(0, at), other],
      [other.subarray(0, at), bytes],
      [bytes.subarray(0, at), other, bytes.subarray(at)],
    ]),
  );
}

interface Tally {
  volumes: number;
  refused: number;
  slowest: number;
}

/** Runs one input and checks what came of it. */
async function judge(tally: Tally, name: string, what: string, read: () => unknown): Promise<void> {
  const started = cpuTime();
  try {
    const { size, data, affine } = (await read()) as { size: number[]; data: Float32Array; affine: number[] };
    const voxels = size[0] * size[1] * size[2];
    assert.ok((data.length === voxels || data.length === 3 * voxels) && affine.length === 12 && affine.every(Number.isFinite), what);
    tally.volumes++;
  } catch (error) {
    assert.instance(error, Error, what);
    const { message, stack } = error as Error;
    assert.ok(message.startsWith(`${name}: `) && !message.includes('\n') && message.length < 500, `${what}: ${stack}`);
    tally.refused++;
  }
  tally.slowest = Math.max(tally.slowest, cpuTime() - started);
}

/** Runs the inputs; they may not take long each, and the process may not grow. */
async function fuzz(rounds: number, least: number, input: (round: number, tally: Tally) => Promise<void>): Promise<void> {
  const tally: Tally = { volumes: 0, refused: 0, slowest: 0 };
  const before = process.memoryUsage().rss;
  let most = before;
  for (let round = 0; round < rounds; round++) {
    await input(round, tally);
    if (round % 50 === 0) most = Math.max(most, process.memoryUsage().rss);
  }
  assert.is(tally.volumes + tally.refused, rounds);
  assert.ok(tally.volumes >= least && tally.refused >= least, JSON.stringify(tally));
  assert.ok(tally.slowest < PATIENCE, `one took ${tally.slowest} ms`);
  assert.ok(most - before < 256 * MEBIBYTE, `the process grew by ${Math.round((most - before) / MEBIBYTE)} MiB`);
}

test('9000 damaged headers', async () => {
  const next = random(20250704);
  await fuzz(9000, 1000, async (round, tally) => {
    const which = round % originals.length,
      { version, dim } = variants[which];
    let bytes: Uint8Array = originals[which].slice();
    const headerBytes = version === 1 ? 352 : 544;
    const kind = next();
    if (kind < 0.55) mutateFields(next, bytes, version!);
    else if (kind < 0.8) flipBits(next, bytes, headerBytes);
    else if (kind < 0.9) bytes = cut(next, bytes);
    else bytes = joined(next, bytes, pick(next, originals));
    if (next() < 0.1) flipBits(next, bytes, Math.min(headerBytes, bytes.length));
    const buffer = bytes.slice().buffer,
      parse = dim!.length === 5 ? parseDisplacement : parseNifti;
    await judge(tally, 'fuzz.nii', `round ${round}`, () => parse('fuzz.nii', buffer as ArrayBuffer));
  });
});

test('2500 damaged gzip streams, and plain files under their name', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'deqreg-fuzz-')),
    path = join(folder, 'fuzz.nii.gz');
  const next = random(42);
  const noise = Uint8Array.from({ length: 4096 }, () => Math.floor(256 * next()));
  const zeros = gzipSync(new Uint8Array(4 * MEBIBYTE)); // a thousand times what it takes
  try {
    await fuzz(2500, 200, async (round, tally) => {
      const which = round % originals.length,
        { version, dim } = variants[which];
      const plain = originals[which].slice();
      const kind = next();
      if (kind < 0.4) mutateFields(next, plain, version!);
      let bytes: Uint8Array = kind < 0.05 ? plain : gzipSync(plain);
      if (kind > 0.4) {
        if (kind < 0.6) flipBits(next, bytes);
        else if (kind < 0.75) bytes = cut(next, bytes);
        else if (kind < 0.95)
          bytes = joined(
            next,
            bytes,
            pick(next, [
              noise.subarray(0, Math.floor(next() * 4096)),
              gzipSync(pick(next, originals)),
              new Uint8Array(300),
              noise.subarray(0, 3),
            ]),
          );
        else bytes = Buffer.concat([bytes, ...Array(1 + Math.floor(next() * 6)).fill(zeros)]);
      }
      await writeFile(path, bytes);
      const read = dim!.length === 5 ? readDisplacement : readVolume;
      await judge(tally, path, `round ${round}`, () => read(path));
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.run();
