import { NIFTI1 } from 'nifti-reader-js';
import { voxelSpacing, type Affine, type Vec3 } from './affine.ts';
import { displacementForms, formOf, type DisplacementForm } from './displacement.ts';
import { BYTES, CODES, parseHeader, type Dtype, type NiftiHeader } from './nifti-header.ts';
import { quaternionOf } from './quaternion.ts';
import { type Grid, gridOf, type Volume } from './volume.ts';

/**
 * A displacement field on a grid: from each voxel to the point that it maps to, in LPS mm, as ITK and ANTs store it. Voxels, which
 * `register` returns, become this by `toPhysical`, and come of it by `fromPhysical`.
 */
export interface DisplacementField extends Grid {
  /** [3, D, H, W]. */
  data: Float32Array;
  /** As of a volume. */
  doubt?: string;
}

/** The intent codes of vector images: displacements, and vectors in general. */
export const VECTOR_INTENTS = [1006, 1007];
/** Fields of other programs with the extents and the intent code of ITK's, by the name that they give their intent. */
const OTHER_FIELDS: Record<string, string> = {
  Mapping: 'SPM’s deformation, coordinates in RAS mm',
  NREG_TRANS: 'NiftyReg’s transformation',
};
const ARRAYS = {
  uint8: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};

/** The content of a file. */
export type Bytes = ArrayBuffer | Uint8Array;

/** Bytes as a buffer that begins and ends with them: the one they are in, or a copy. */
export function bufferOf(name: string, bytes: Bytes): ArrayBuffer {
  if (bytes instanceof ArrayBuffer) return bytes;
  if (!(bytes instanceof Uint8Array)) throw new Error(`${name}: bytes must be an ArrayBuffer or a Uint8Array, got ${typeof bytes}`);
  const { buffer } = bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength ? buffer : new Uint8Array(bytes).buffer;
}

/**
 * A 3-D NIfTI-1 or NIfTI-2 image from decompressed bytes: a single file, or a header and its `image` (.hdr, .img); of a 4-D one the `frame`
 * asked for, counted from 0. `data` may be a view of the given bytes. Throws with `name` at the start: what is wrong, with values.
 */
export function parseNifti(name: string, bytes: Bytes, imageBytes?: Bytes, frame?: number): Volume {
  const [buffer, image] = [bufferOf(name, bytes), imageBytes && bufferOf(name, imageBytes)];
  const header = frameOf(name, parseHeader(name, buffer), frame);
  const { doubt, dtype } = header;
  const grid = gridOf({ ...header, size: volumeSize(name, header) });
  return { ...grid, data: readVoxels(name, header, buffer, image), dtype, ...(doubt && { doubt }) };
}

/** A displacement field in one of the `displacementForms`. The values are returned as stored. */
export function parseDisplacement(name: string, bytes: Bytes, imageBytes?: Bytes, form: DisplacementForm = 'itk'): DisplacementField {
  const [buffer, image] = [bufferOf(name, bytes), imageBytes && bufferOf(name, imageBytes)];
  const header = parseHeader(name, buffer);
  const grid = gridOf({ ...header, size: displacementSize(name, header, form) });
  return { ...grid, data: readVoxels(name, header, buffer, image), ...(header.doubt && { doubt: header.doubt }) };
}

/** The size of a header that describes a 3-D image; throws for any other. */
export function volumeSize(name: string, { extents, intent }: NiftiHeader): Vec3 {
  const [w, h, d] = extents;
  const shape = extents.join('×');
  const frames = extents.slice(3).reduce((product, n) => product * n, 1);
  if (extents.length < 3) throw new Error(`${name}: ${extents.length}-D image (${shape}); a 3-D volume is needed, of one slice if need be`);
  if (frames > 1 && VECTOR_INTENTS.includes(intent)) throw new Error(`${name}: vector field (${shape}, intent ${intent}), not an image`);
  if (frames > 1)
    throw new Error(
      `${name}: ${extents.length}-D volume (${frames} frames of ${w}×${h}×${d}); one of them is needed: a path takes the first as ${name}[0]`,
    );
  return [w, h, d];
}

/** The header of one frame of an image, counted from 0; without one asked for, the image's own, and so of vectors, which have none. */
export function frameOf(name: string, header: NiftiHeader, frame?: number): NiftiHeader {
  const { extents, intent, offset, bytes } = header;
  if (frame === undefined || VECTOR_INTENTS.includes(intent)) return header;
  const frames = extents.slice(3).reduce((product, n) => product * n, 1);
  if (!(Number.isInteger(frame) && frame >= 0 && frame < frames))
    throw new Error(`${name}: there is no frame ${frame}: the image has ${frames}, counted from 0`);
  return { ...header, extents: extents.slice(0, 3), offset: offset + (frame * bytes) / frames, bytes: bytes / frames };
}

/** The size of a header that describes a displacement field in that form; throws for any other. */
export function displacementSize(name: string, { extents, intent, intentName }: NiftiHeader, form: DisplacementForm = 'itk'): Vec3 {
  const other = Object.hasOwn(OTHER_FIELDS, intentName) && OTHER_FIELDS[intentName];
  if (other)
    throw new Error(
      `${name}: not a displacement field in ITK's sense: ${other} (intent name ${intentName}); export it as ITK displacement`,
    );
  const found = formOf(extents, intent);
  if (found !== form) {
    const hint = found ? `; this is the form ${found}, which \`deqreg convert --from ${found}\` reads` : '';
    throw new Error(
      `${name}: not a displacement field: dimensions ${extents.join('×')}, intent ${intent}; expected ${displacementForms[form].layout}${hint}`,
    );
  }
  const [w, h, d] = extents;
  return [w, h, d];
}

function readVoxels(name: string, header: NiftiHeader, buffer: ArrayBuffer, image?: ArrayBuffer): Float32Array {
  if (header.pair && !image) throw new Error(`${name}: header of a .hdr/.img pair; its .img is needed too`);
  if (!header.pair && image) throw new Error(`${name}: a single-file NIfTI; it takes no separate .img`);
  const { offset, bytes, dtype, extents } = header;
  const source = image ?? buffer;
  if (source.byteLength < offset + bytes) {
    throw new Error(
      `${name}: truncated: ${Math.max(0, source.byteLength - offset)} of ${bytes} bytes of voxels ` +
        `(${extents.join('×')} ${dtype} from byte ${offset} on)`,
    );
  }
  return decode(source, header);
}

// nifti-reader-js has no decoder; its readImage copies the bytes and trusts bitpix, so it is not used.
// Typed arrays are little-endian on every platform with WebGPU.
function decode(source: ArrayBuffer, { offset, bytes, dtype, littleEndian, slope, intercept }: NiftiHeader): Float32Array {
  const width = BYTES[dtype];
  if (!littleEndian || offset % width) {
    source = source.slice(offset, offset + bytes);
    offset = 0;
  }
  if (!littleEndian) swapBytes(new Uint8Array(source), width);
  const count = bytes / width;
  const wide = dtype === 'int64' || dtype === 'uint64';
  const stored = wide ? readInt64(source, offset, count, dtype) : new ARRAYS[dtype](source, offset, count);
  if (slope === 1 && intercept === 0) return stored instanceof Float32Array ? stored : new Float32Array(stored);
  const out = new Float32Array(count);
  for (let n = 0; n < count; n++) out[n] = slope * stored[n] + intercept;
  return out;
}

function readInt64(source: ArrayBuffer, offset: number, count: number, dtype: 'int64' | 'uint64'): Float64Array {
  const low = new Uint32Array(source, offset, 2 * count);
  const high = dtype === 'int64' ? new Int32Array(source, offset, 2 * count) : low;
  return Float64Array.from({ length: count }, (_, n) => high[2 * n + 1] * 2 ** 32 + low[2 * n]);
}

function swapBytes(bytes: Uint8Array, width: number): void {
  if (width === 1) return;
  for (let start = 0; start < bytes.length; start += width) {
    for (let a = start, b = start + width - 1; a < b; a++, b--) {
      const byte = bytes[a];
      bytes[a] = bytes[b];
      bytes[b] = byte;
    }
  }
}

const STORED = ['float32', 'uint8', 'int16', 'uint16', 'int32'] as const;
export interface NiftiImage extends Grid {
  data: ArrayLike<number>;
  dtype: (typeof STORED)[number];
  description?: string;
}

/** A single-file NIfTI-1, little-endian, unscaled. Values are rounded for integer types; one that does not fit throws. */
export function encodeNifti({ data, dtype, description, ...grid }: NiftiImage): Uint8Array<ArrayBuffer> {
  return encode(grid, [...grid.size], dtype, data, 0, description ?? '');
}

/** A displacement field in one of the `displacementForms`, float32; `data` is [3, D, H, W] in that form's unit. */
export function encodeDisplacement({ data, ...grid }: DisplacementField, form: DisplacementForm = 'itk'): Uint8Array<ArrayBuffer> {
  if (!Object.hasOwn(displacementForms, form))
    throw new Error(`encodeDisplacement: form must be one of ${Object.keys(displacementForms).join(', ')}; got ${form}`);
  const {
    more,
    intents: [intent],
    description,
  } = displacementForms[form];
  return encode(grid, [...grid.size, ...more], 'float32', data, intent, description);
}

function encode(
  { size, affine, space = NIFTI1.XFORM_SCANNER_ANAT }: Grid,
  extents: number[],
  dtype: NiftiImage['dtype'],
  data: ArrayLike<number>,
  intent: number,
  description: string,
): Uint8Array<ArrayBuffer> {
  if (!STORED.includes(dtype)) throw new Error(`encodeNifti: dtype must be one of ${STORED.join(', ')}; got ${dtype}`);
  const count = extents.reduce((product, n) => product * n, 1);
  if (!size.every((n) => Number.isInteger(n) && n >= 1 && n <= 32767)) {
    throw new Error(`NIfTI-1 stores extents from 1 to 32767, got ${size.join('×')}`);
  }
  if (!(Number.isInteger(space) && space >= 1 && space <= 32767))
    throw new Error(`space must be a code of NIfTI, 1 for the scanner's to 5, got ${space}`);
  if (data.length !== count) throw new Error(`${extents.join('×')} = ${count} values are needed, got ${data.length}`);
  const header = encodeHeader(affine, space, extents, dtype, intent, description);
  const bytes = new Uint8Array(header.byteLength + count * BYTES[dtype]);
  bytes.set(new Uint8Array(header));
  const out = new ARRAYS[dtype](bytes.buffer, header.byteLength, count);
  if (dtype === 'float32' || data instanceof ARRAYS[dtype]) {
    out.set(data);
    return bytes;
  }
  for (let n = 0; n < count; n++) {
    const value = Math.round(data[n]);
    out[n] = value;
    if (out[n] !== value) throw new Error(`value ${data[n]} at voxel ${n} does not fit ${dtype}`);
  }
  return bytes;
}

/** 348 bytes of header and the four extension flags. */
function encodeHeader(affine: Affine, space: number, extents: number[], dtype: Dtype, intent: number, description: string): ArrayBuffer {
  const { b, c, d, qfac, rigid } = quaternionOf(affine);
  const header = new NIFTI1();
  header.littleEndian = true;
  header.magic = 'n+1';
  header.vox_offset = 352;
  header.dims = [extents.length, ...extents, 1, 1, 1, 1].slice(0, 8);
  header.pixDims = [qfac, ...voxelSpacing(affine), 1, 1, 1, 1];
  header.datatypeCode = CODES[dtype];
  header.numBitsPerVoxel = 8 * BYTES[dtype];
  header.xyzt_units = NIFTI1.UNITS_MM;
  header.intent_code = intent;
  header.description = description.replace(/[^\x20-\x7e]/g, '?').slice(0, 79); // 80 bytes, the last one 0
  header.sform_code = space;
  header.qform_code = rigid ? space : NIFTI1.XFORM_UNKNOWN; // a sheared grid has no qform
  [header.quatern_b, header.quatern_c, header.quatern_d] = [b, c, d];
  [header.qoffset_x, header.qoffset_y, header.qoffset_z] = [affine[3], affine[7], affine[11]];
  header.affine = [affine.slice(0, 4), affine.slice(4, 8), affine.slice(8, 12)];
  return header.toArrayBuffer();
}
