import { HEADER_BYTES } from './nifti-header.ts';

/** Bytes after the image that a gzip stream may still hold; they are read (the checksum comes last) and dropped. */
const SLACK = 16 * 2 ** 20;
const MAX_DEFLATE_RATIO = 1032; // of the format itself

export const isGzip = ([first, second]: Uint8Array): boolean => first === 0x1f && second === 0x8b;

/** What gzipped bytes hold, piece by piece, as browsers and Node both can. */
export async function* inflated(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream('gzip'));
  const reader = stream.getReader(); // not every browser iterates a stream
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    reader.cancel().catch(() => {}); // of a stream that has failed
  }
}

/**
 * The first bytes of a gzipped NIfTI, as many as `wanted` says when it has seen the header, from its `pieces`; `compressed` is their number
 * of bytes before. Memory is bounded by what the header claims, and that claim by what the compressed bytes can hold. `name` begins the
 * errors.
 */
export async function gunzip(
  name: string,
  compressed: number,
  pieces: AsyncIterable<Uint8Array>,
  wanted: (start: ArrayBuffer) => number,
): Promise<ArrayBuffer> {
  let start = new Uint8Array(0);
  let out: Uint8Array<ArrayBuffer> | undefined;
  let received = 0;
  const begin = () => {
    const need = wanted(start.buffer.slice(0, HEADER_BYTES[2]));
    if (need > compressed * MAX_DEFLATE_RATIO) {
      throw new Error(`${name}: truncated: its header asks for ${need} bytes, which ${compressed} compressed bytes cannot hold`);
    }
    out = new Uint8Array(need);
    out.set(start.subarray(0, need));
  };
  try {
    for await (const piece of pieces) {
      if (out) {
        if (received < out.length) out.set(piece.subarray(0, out.length - received), received);
      } else {
        const longer = new Uint8Array(start.length + piece.length);
        longer.set(start);
        longer.set(piece, start.length);
        start = longer;
      }
      received += piece.length;
      if (!out && received >= HEADER_BYTES[2]) begin();
      if (out && received > out.length + SLACK) throw new Error(`${name}: more than ${SLACK} bytes follow the image its header describes`);
    }
    if (!out) begin();
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (error instanceof RangeError) throw new Error(`${name}: cannot be held in memory (${message})`);
    if (code === 'Z_BUF_ERROR') throw new Error(`${name}: truncated gzip stream (it ends after ${received} decompressed bytes)`);
    if (code?.startsWith('Z_')) throw new Error(`${name}: corrupt gzip stream (${message})`);
    if (error instanceof TypeError)
      throw new Error(
        `${name}: the browser cannot decompress it: corrupt, truncated or in several parts; use the uncompressed .nii (${message})`,
      );
    throw error;
  }
  return received < out!.length ? out!.buffer.slice(0, received) : out!.buffer;
}
