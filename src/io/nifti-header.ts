import { isNIFTI1, isNIFTI2, NIFTI1, NIFTI2 } from 'nifti-reader-js';
import { invertAffine, type Affine, type Vec3, voxelSpacing } from './affine.ts';
import { furthest } from './volume.ts';

/** Bytes of the two headers, without the four extension flags that follow. */
export const HEADER_BYTES = { 1: 348, 2: 540 } as const;

/** What of a NIfTI header the project uses, validated. */
export interface NiftiHeader {
  pair: boolean; // .hdr + .img
  littleEndian: boolean;
  extents: number[]; // dim[1..dim[0]]
  affine: Affine; // voxel → RAS mm
  space?: number; // of these mm, where it is not the scanner's: the code of the affine
  doubt?: string; // why the voxels may be elsewhere
  intent: number;
  intentName: string; // free text of the writer
  dtype: Dtype;
  offset: number; // bytes before the first voxel, in the file that holds the voxels
  bytes: number; // bytes of all voxels
  slope: number; // value = slope·stored + intercept
  intercept: number;
}

export type Dtype = keyof typeof BYTES;
export const BYTES = { uint8: 1, int8: 1, int16: 2, uint16: 2, int32: 4, uint32: 4, float32: 4, float64: 8, int64: 8, uint64: 8 } as const;
export const CODES: Record<Dtype, number> = {
  uint8: 2,
  int8: 256,
  int16: 4,
  uint16: 512,
  int32: 8,
  uint32: 768,
  float32: 16,
  float64: 64,
  int64: 1024,
  uint64: 1280,
};
const REFUSED: Record<number, string> = {
  1: 'binary',
  32: 'complex64',
  128: 'RGB',
  1536: 'float128',
  1792: 'complex128',
  2048: 'complex256',
  2304: 'RGBA',
};
/** Of an image. */
export const MAX_VOXELS = 2 ** 31;
const MM_PER_UNIT: Record<number, number> = { [NIFTI1.UNITS_METER]: 1000, [NIFTI1.UNITS_MICRON]: 0.001 }; // else mm

/** Other formats by what they begin with, and what makes NIfTI of them. */
const FOREIGN: [RegExp, string][] = [
  [/^[\s\S]{128}DICM/, 'but DICOM: dcm2niix converts it'],
  [/^NRRD/, 'but NRRD: SimpleITK or Slicer converts it'],
  [/^\s*(ObjectType|NDims)\b/, 'but MetaImage: SimpleITK or c3d converts it'],
  [/^\0\0\0\x01\0\0[\s\S]{2}\0\0[\s\S]{2}\0\0[\s\S]{2}\0\0/, 'but FreeSurfer’s MGH: mri_convert converts it'],
  [/^\x89HDF/, 'but HDF5, as MINC, or a composite transform of ITK'],
  [/^PK/, 'but a zip archive'],
];
const foreign = (start: ArrayBuffer): string | undefined => {
  const text = String.fromCharCode(...new Uint8Array(start, 0, HEADER_BYTES[1]));
  return FOREIGN.find(([mark]) => mark.test(text))?.[1];
};

/**
 * Reads and validates the header at the start of `buffer` (single file or .hdr; what follows the header may be missing).
 * Errors begin with `name`. Format: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h and nifti2.h
 */
export function parseHeader(name: string, buffer: ArrayBuffer): NiftiHeader {
  const fail = (what: string): never => {
    throw new Error(`${name}: ${what}`);
  };
  if (!buffer.byteLength) fail('empty file');
  if (buffer.byteLength < HEADER_BYTES[1]) fail(`not a NIfTI file: ${buffer.byteLength} bytes, a header has ${HEADER_BYTES[1]}`);
  const sizes = [true, false].map((little) => new DataView(buffer).getInt32(0, little));
  const version = isNIFTI1(buffer, true)
    ? 1
    : isNIFTI2(buffer, true)
      ? 2
      : fail(
          sizes.includes(HEADER_BYTES[1])
            ? 'an Analyze 7.5 image, or a NIfTI header without its mark: convert it to NIfTI'
            : `not a NIfTI file ${foreign(buffer) ?? '(its header lacks the mark n+1, ni1, n+2 or ni2)'}`,
        );
  if (buffer.byteLength < HEADER_BYTES[version]) fail(`truncated header: ${buffer.byteLength} of ${HEADER_BYTES[version]} bytes`);

  // nifti-reader-js gets the header's bytes alone: its walk over the extensions trusts their sizes, and never ends on crafted ones.
  const bytes = buffer.slice(0, HEADER_BYTES[version]);
  if (!sizes.includes(HEADER_BYTES[version])) fail(`not a NIfTI file: sizeof_hdr = ${sizes[0]}, expected ${HEADER_BYTES[version]}`);
  const header = version === 1 ? new NIFTI1() : new NIFTI2();
  header.readHeader(bytes);

  const dim = header.dims;
  if (!(dim[0] >= 1 && dim[0] <= 7)) fail(`dim[0] = ${dim[0]}; a NIfTI image has 1 to 7 dimensions`);
  const extents = dim.slice(1, dim[0] + 1);
  if (!extents.every((n) => n >= 1)) fail(`dimensions ${extents.join('×')} are not all positive`);
  const count = extents.reduce((product, n) => product * n, 1);
  if (!(count <= MAX_VOXELS)) fail(`${extents.join('×')} = ${count} voxels; at most ${MAX_VOXELS} are supported`);

  const code = header.datatypeCode;
  if (REFUSED[code]) fail(`${REFUSED[code]} voxels are not supported; convert to one real number a voxel`);
  const dtype = (Object.keys(CODES) as Dtype[]).find((type) => CODES[type] === code) ?? fail(`unknown datatype code ${code}`);

  // A slope that is zero or not finite means "not scaled"; the standard says so for zero, and writers put NaN.
  const scaled = Number.isFinite(header.scl_slope) && header.scl_slope !== 0;
  if (scaled && !Number.isFinite(header.scl_inter)) fail(`scl_inter = ${header.scl_inter} is not finite`);

  const pair = header.magic.startsWith('ni');
  const offset = header.vox_offset;
  const first = pair ? 0 : HEADER_BYTES[version];
  if (!(Number.isSafeInteger(offset) && offset >= first)) fail(`vox_offset = ${offset}; expected a whole number of bytes from ${first} on`);

  return {
    pair,
    littleEndian: header.littleEndian,
    extents,
    ...readAffine(name, header, bytes),
    intent: header.intent_code,
    intentName: header.intent_name.replace(/\0.*$/s, '').trim(),
    dtype,
    offset,
    // bitpix is redundant, and wrong in some files: the datatype decides, as in nifti1_io and nibabel.
    bytes: count * BYTES[dtype],
    slope: scaled ? header.scl_slope : 1,
    intercept: scaled ? header.scl_inter : 0,
  };
}

/**
 * The sform where sform_code > 0, else the qform where qform_code > 0, else the voxel sizes alone. Not `header.affine`: nifti-reader-js
 * prefers a qform of higher code and takes qfac's size for NIfTI-1, ignores the qform for NIfTI-2, and the units for both.
 */
function readAffine(name: string, header: NIFTI1 | NIFTI2, bytes: ArrayBuffer): Pick<NiftiHeader, 'affine' | 'space' | 'doubt'> {
  const fail = (what: string): never => {
    throw new Error(`${name}: ${what}`);
  };
  const view = new DataView(bytes);
  const { littleEndian } = header;
  const srow = (n: number) =>
    header instanceof NIFTI1 ? view.getFloat32(280 + 4 * n, littleEndian) : view.getFloat64(400 + 8 * n, littleEndian);
  const spacing = header.pixDims.slice(1, 4);
  let source = 'sform',
    affine: number[];
  if (header.sform_code > 0) {
    affine = Array.from({ length: 12 }, (_, n) => srow(n));
  } else {
    source = header.qform_code > 0 ? 'qform' : 'pixdim';
    if (!spacing.every((mm) => mm > 0 && Number.isFinite(mm))) fail(`voxel size pixdim = ${spacing.join(', ')} is not positive and finite`);
    const [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d];
    if (source === 'qform' && !(b * b + c * c + d * d < 1.001)) fail(`qform: quaternion ${b}, ${c}, ${d} is longer than 1`);
    affine = source === 'qform' ? header.getQformMat().slice(0, 3).flat() : [spacing[0], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[2], 0];
  }
  const mm = MM_PER_UNIT[header.xyzt_units & NIFTI1.SPATIAL_UNITS_MASK] ?? 1;
  affine = affine.map((value) => value * mm);
  try {
    invertAffine(affine);
  } catch (error) {
    fail(`${source}: ${(error as Error).message}`);
  }
  const qform =
    header.qform_code > 0 && source === 'sform'
      ? (header.getQformMat().slice(0, 3).flat() as number[]).map((value) => value * mm)
      : undefined;
  const doubt = doubtOf(source, affine, qform, [1, 2, 3].map((axis) => header.dims[axis] ?? 1) as Vec3);
  const space = source === 'sform' ? header.sform_code : header.qform_code;
  return { affine, ...(space > NIFTI1.XFORM_SCANNER_ANAT && { space }), ...(doubt && { doubt }) };
}

/** Voxels that sform and qform put this far apart, in voxels, are in different places. */
const APART = 0.5;
/** |cos| of the angle between two axes from which on a grid is sheared. */
const SHEARED = 0.01;

/** Why an affine may not be what the writer of the file meant, or what other programs take. */
function doubtOf(source: string, affine: Affine, qform: Affine | undefined, size: Vec3): string | undefined {
  if (source === 'pixdim')
    return 'its header has no orientation (sform_code and qform_code are 0): axes are taken as left to right, posterior to anterior, inferior to superior; left and right may be exchanged, and no figure would show it';
  const spacing = voxelSpacing(affine);
  const far = qform ? furthest({ size, affine }, { size, affine: qform }) : 0;
  if (far > APART * Math.min(...spacing))
    return `its sform and its qform put voxels up to ${far.toPrecision(3)} mm apart: the sform counts here, ITK and ANTs may take the qform`;
  const cosine = (a: number, b: number) =>
    [0, 4, 8].reduce((sum, row) => sum + affine[row + a] * affine[row + b], 0) / (spacing[a] * spacing[b]);
  if (Math.max(Math.abs(cosine(0, 1)), Math.abs(cosine(0, 2)), Math.abs(cosine(1, 2))) > SHEARED)
    return 'its axes are not at right angles: ITK and ANTs refuse such files, and distances along the axes are approximate';
  return undefined;
}
