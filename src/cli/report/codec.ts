// How a layer of bytes travels in the page: each byte less its prediction from three neighbours (the median edge detector of JPEG-LS,
// Weinberger et al., IEEE Trans. Image Process. 2000), which gzip then shrinks by a third more than the bytes themselves; and that as
// base64.

export const gzip = (bytes: BlobPart): Promise<ArrayBuffer> => piped(bytes, new CompressionStream('gzip'));
const gunzip = (bytes: BlobPart): Promise<ArrayBuffer> => piped(bytes, new DecompressionStream('gzip'));

const piped = (bytes: BlobPart, stream: CompressionStream | DecompressionStream): Promise<ArrayBuffer> =>
  new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer();

/** Bytes → gzip, base64. `repeats`: what repetition is left in them, which a host may make use of. */
export type Pack = (bytes: Uint8Array<ArrayBuffer>, repeats: 'zeros' | 'rows') => Promise<string>;

/** As every host can. */
export const pack: Pack = async (bytes) => {
  const packed = new Uint8Array(await gzip(bytes));
  const pieces: string[] = [];
  for (let at = 0; at < packed.length; at += PIECE) pieces.push(String.fromCharCode(...packed.subarray(at, at + PIECE)));
  return btoa(pieces.join(''));
};
/** Arguments of one call. */
const PIECE = 2 ** 14;

/** The inverse of `pack`. */
export async function unpack(data: string): Promise<Uint8Array<ArrayBuffer>> {
  const packed = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  return new Uint8Array(await gunzip(packed));
}

/** Bytes → residuals modulo 256; `width` is the length of a row. */
export function encode(bytes: Uint8Array, width: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length);
  for (let n = 0; n < bytes.length; n++)
    out[n] = bytes[n] - (n <= width ? 0 : predict(bytes[n - 1], bytes[n - width], bytes[n - width - 1]));
  return out;
}

/** The inverse of `encode`, in place. */
export function decode(bytes: Uint8Array, width: number): Uint8Array {
  for (let n = 0; n < bytes.length; n++) bytes[n] += n <= width ? 0 : predict(bytes[n - 1], bytes[n - width], bytes[n - width - 1]);
  return bytes;
}

/** From the byte before, the one a row before, and the one before that; rows and slices follow each other without a seam. */
function predict(before: number, above: number, corner: number): number {
  const low = before < above ? before : above,
    high = before < above ? above : before;
  return corner >= high ? low : corner <= low ? high : before + above - corner;
}
