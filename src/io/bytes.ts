/** What a file holds, as bytes; a page's `File` gives an ArrayBuffer. */
export type Content = Uint8Array | ArrayBuffer;

export const bytesOf = (content: Content): Uint8Array => (content instanceof ArrayBuffer ? new Uint8Array(content) : content);
