// The only module of io that needs Node: files in, files out. Every error begins with the path at fault.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { constants, crc32, createGunzip, deflateRaw } from 'node:zlib';
import type { Affine } from './affine.ts';
import { type DataList, parseDataList } from './data-list.ts';
import { frameIn } from './data-path.ts';
import type { DisplacementForm } from './displacement.ts';
import { gunzip, isGzip } from './gunzip.ts';
import { parseLandmarks, type Landmarks } from './landmarks.ts';
import { HEADER_BYTES, parseHeader, type NiftiHeader } from './nifti-header.ts';
import {
  bufferOf,
  displacementSize,
  frameOf,
  parseDisplacement,
  parseNifti,
  VECTOR_INTENTS,
  volumeSize,
  type DisplacementField,
} from './nifti.ts';
import { wantedOf } from './parse-volume.ts';
import { parsePoints, type PointTable } from './points.ts';
import { parseItkAffine } from './transform.ts';
import type { Grid, Volume } from './volume.ts';

const GZIP_BLOCK = 8 * 2 ** 20;

/**
 * Reads a 3-D image: .nii, or .hdr with .img (either may be named), each also gzipped; or a frame of a 4-D one: cine.nii.gz[9], counted
 * from 0.
 */
export async function readVolume(path: string): Promise<Volume> {
  const { file, frame } = frameIn(path);
  const { buffer, image } = await readNifti(file, (header) => volumeSize(path, frameOf(path, header, frame)));
  return parseNifti(path, buffer, image, frame);
}

/**
 * Reads a displacement field, values as stored in that form: LPS mm in ITK's, by default; `convertDisplacement` makes these of the others.
 */
export async function readDisplacement(path: string, form: DisplacementForm = 'itk'): Promise<DisplacementField> {
  const { buffer, image } = await readNifti(path, (header) => displacementSize(path, header, form));
  return parseDisplacement(path, buffer, image, form);
}

/** Reads corresponding points; `images`, their grids, are needed for a table in mm. */
export async function readLandmarks(path: string, images?: { fixed: Grid; moving: Grid }): Promise<Landmarks> {
  return parseLandmarks(path, (await readBytes(path)).toString('utf8'), images);
}

/** Reads a table of points. */
export async function readPoints(path: string): Promise<PointTable> {
  return parsePoints(path, (await readBytes(path)).toString('utf8'));
}

/** Reads a linear transform of ITK, in its text or binary form; RAS mm, fixed point → moving point. */
export async function readAffine(path: string): Promise<Affine> {
  return parseItkAffine(path, await readBytes(path));
}

/** Reads a data list; every file that it names must exist. */
export async function readDataList(path: string): Promise<DataList> {
  return parseDataList(path, (await readBytes(path)).toString('utf8'), (named) => existsSync(frameIn(named).file));
}

/** The bytes of a single file, or of a pair. `check` throws for a header that is not wanted, before any voxel is decompressed. */
async function readNifti(path: string, check: (header: NiftiHeader) => void): Promise<{ buffer: ArrayBuffer; image?: ArrayBuffer }> {
  const headerPath = (await partner(path, /\.img(\.gz)?$/i, 'hdr')) ?? path;
  const buffer = await inflate(headerPath, (start) => {
    const header = parseHeader(headerPath, start);
    check(header);
    return wantedOf(header, start);
  });
  const { pair, offset, bytes } = parseHeader(headerPath, buffer);
  if (!pair) return { buffer };
  const imagePath = await partner(headerPath, /\.hdr(\.gz)?$/i, 'img');
  if (!imagePath) throw new Error(`${path}: header of a .hdr/.img pair, but its name does not end in .hdr`);
  return { buffer, image: await inflate(imagePath, () => offset + bytes) };
}

/** The other file of a pair, or undefined when `path` does not have the `ending`. Throws when there is none. */
async function partner(path: string, ending: RegExp, extension: 'hdr' | 'img'): Promise<string | undefined> {
  if (!ending.test(path)) return undefined;
  const stem = path.replace(ending, '');
  const upper = /\.(HDR|IMG)/.test(path.slice(stem.length));
  const candidates = [`.${extension}`, `.${extension}.gz`].map((end) => stem + (upper ? end.toUpperCase() : end));
  for (const candidate of candidates) if (await stat(candidate).catch(() => undefined)) return candidate;
  throw new Error(`${path}: its other half ${candidates.join(' or ')} does not exist`);
}

/** The bytes of a file; of a gzipped one, as many as `wanted` says when it has seen the header. */
async function inflate(path: string, wanted: (start: ArrayBuffer) => number): Promise<ArrayBuffer> {
  const bytes = await readBytes(path);
  if (isGzip(bytes)) return gunzip(path, bytes.length, createGunzip({ chunkSize: 2 ** 20 }).end(bytes), wanted);
  const whole = bufferOf(path, bytes);
  wanted(whole.slice(0, HEADER_BYTES[2]));
  return whole;
}

/** All bytes of a file that is not empty. */
export async function readBytes(path: string): Promise<Buffer<ArrayBuffer>> {
  let bytes: Buffer<ArrayBuffer>;
  try {
    bytes = (await readFile(path)) as Buffer<ArrayBuffer>;
  } catch (error) {
    throw new Error(`${path}: ${reason(error)}`);
  }
  if (!bytes.length) throw new Error(`${path}: empty file`);
  return bytes;
}

/**
 * Writes a file so that it appears whole or not at all: a temporary file in the same folder, then a rename. What is `durable` is on the
 * disk when this returns, and before it takes the place of another: a power cut leaves one of the two.
 */
export async function writeAtomic(path: string, bytes: Uint8Array | string | Uint8Array[], { durable = false } = {}): Promise<void> {
  const temporary = `${path}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    await writeFile(temporary, bytes, { flag: 'wx', flush: durable });
    await rename(temporary, path);
    if (durable && process.platform !== 'win32') await syncFolder(dirname(path)); // Windows opens no folders
  } catch (error) {
    await rm(temporary, { force: true });
    throw new Error(`${path}: cannot write: ${reason(error)}`);
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Writes the bytes of `encodeNifti` or `encodeDisplacement`, gzipped when the path ends in .gz. */
export async function writeNifti(path: string, bytes: Uint8Array): Promise<void> {
  await writeAtomic(path, /\.gz$/i.test(path) ? await gzip(bytes) : bytes);
}

/**
 * One gzip member, level 1, its blocks deflated in parallel in zlib's thread pool (as pigz does): every block but the last ends with a
 * sync flush, so that they join to one deflate stream. Several members would be as fast, but browsers' DecompressionStream refuses them.
 * Fields of floats repeat nothing but zeros, and Z_RLE takes a third of the default's time for the same size; images gain from the default.
 * An output chunk holds a whole block, so that a block needs no turn of a busy main thread.
 */
async function gzip(bytes: Uint8Array): Promise<Uint8Array[]> {
  const vectors = VECTOR_INTENTS.includes(new DataView(bytes.buffer, bytes.byteOffset).getInt16(68, true));
  const strategy = vectors ? constants.Z_RLE : constants.Z_DEFAULT_STRATEGY;
  const count = Math.max(1, Math.ceil(bytes.length / GZIP_BLOCK));
  const blocks = Array.from({ length: count }, (_, n) =>
    promisify<Uint8Array, object, Buffer>(deflateRaw)(bytes.subarray(n * GZIP_BLOCK, (n + 1) * GZIP_BLOCK), {
      level: 1,
      strategy,
      chunkSize: GZIP_BLOCK + 2 ** 16,
      finishFlush: n === count - 1 ? constants.Z_FINISH : constants.Z_SYNC_FLUSH,
    }),
  );
  const head = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255); // deflate, no name, no time, fastest, system unknown
  const tail = new Uint8Array(8);
  new DataView(tail.buffer).setUint32(0, crc32(bytes), true);
  new DataView(tail.buffer).setUint32(4, bytes.length % 2 ** 32, true);
  return [head, ...(await Promise.all(blocks)), tail];
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const known: Record<string, string> = {
    ENOENT: 'no such file or folder',
    EISDIR: 'is a directory',
    ENOTDIR: 'a part of the path is not a folder',
    EACCES: 'permission denied',
    EROFS: 'read-only file system',
    ENOSPC: 'no space left on the device',
    ERR_FS_FILE_TOO_LARGE: 'files over 2 GiB are not supported',
  };
  return known[code ?? ''] ?? message;
}
