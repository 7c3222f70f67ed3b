// NIfTI files for tests, written field by field from nifti1.h and nifti2.h, independent of the project's own encoder.

export const DTYPES = {
  uint8: [2, 8],
  int8: [256, 8],
  int16: [4, 16],
  uint16: [512, 16],
  int32: [8, 32],
  uint32: [768, 32],
  float32: [16, 32],
  float64: [64, 64],
  int64: [1024, 64],
  uint64: [1280, 64],
} as const;
export type TestDtype = keyof typeof DTYPES;

export interface MakeNifti {
  version?: 1 | 2;
  little?: boolean;
  pair?: boolean;
  dim?: number[]; // dim[1..]; dim[0] is its length unless `dim0` says otherwise
  dim0?: number;
  dtype?: TestDtype;
  datatype?: number; // the raw code, instead of dtype's
  values?: readonly (number | bigint)[];
  pixdim?: number[]; // pixdim[0..3]
  offset?: number; // where the voxels are
  declared?: number; // vox_offset, when it is not there
  slope?: number;
  inter?: number;
  intent?: number;
  intentName?: string;
  units?: number;
  qform?: { code: number; b: number; c: number; d: number; x: number; y: number; z: number };
  sform?: { code: number; rows: number[] };
  flags?: number[]; // the bytes that follow the header
}

export interface Made {
  header: ArrayBuffer; // the file, or the .hdr of a pair
  image?: ArrayBuffer; // the .img of a pair
}

export function makeNifti(options: MakeNifti = {}): Made {
  const {
    version = 1,
    little = true,
    pair = false,
    dim = [3, 2, 2],
    dtype = 'uint8',
    pixdim = [1, 1, 1, 1],
    slope = 0,
    inter = 0,
    intent = 0,
    intentName = '',
    units = 2,
    qform = { code: 0, b: 0, c: 0, d: 0, x: 0, y: 0, z: 0 },
    sform = { code: 1, rows: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] },
    flags = [],
  } = options;
  const count = dim.reduce((a, b) => a * b, 1);
  const values = options.values ?? Array.from({ length: count }, (_, n) => n + 1);
  const headerBytes = version === 1 ? 348 : 540;
  const offset = options.offset ?? (pair ? 0 : headerBytes + 4);
  const [code, bits] = DTYPES[dtype];
  const dims = [options.dim0 ?? dim.length, ...dim, 1, 1, 1, 1, 1, 1, 1].slice(0, 8);
  const pixdims = [...pixdim, 1, 1, 1, 1].slice(0, 8);
  const rows = sform.rows;

  const header = new ArrayBuffer(pair ? headerBytes + 4 : Math.max(headerBytes + 4, offset + (values.length * bits) / 8));
  const view = new DataView(header);
  const magic = `n${pair ? 'i' : '+'}${version}\0`;
  if (version === 1) {
    const f32 = (at: number, list: number[]) => list.forEach((value, n) => view.setFloat32(at + 4 * n, value, little));
    const i16 = (at: number, list: number[]) => list.forEach((value, n) => view.setInt16(at + 2 * n, value, little));
    view.setInt32(0, 348, little);
    i16(40, dims);
    i16(68, [intent, options.datatype ?? code, bits]);
    f32(76, pixdims);
    f32(108, [options.declared ?? offset, slope, inter]);
    view.setUint8(123, units);
    i16(252, [qform.code, sform.code]);
    f32(256, [qform.b, qform.c, qform.d, qform.x, qform.y, qform.z, ...rows]);
    [...intentName].forEach((c, n) => view.setUint8(328 + n, c.charCodeAt(0)));
    [...magic].forEach((c, n) => view.setUint8(344 + n, c.charCodeAt(0)));
  } else {
    const f64 = (at: number, list: number[]) => list.forEach((value, n) => view.setFloat64(at + 8 * n, value, little));
    view.setInt32(0, 540, little);
    [...magic, '\r', '\n', '\x1a', '\n'].forEach((c, n) => view.setUint8(4 + n, c.charCodeAt(0)));
    view.setInt16(12, options.datatype ?? code, little);
    view.setInt16(14, bits, little);
    dims.forEach((n, i) => view.setBigInt64(16 + 8 * i, BigInt(n), little));
    f64(104, pixdims);
    view.setBigInt64(168, BigInt(options.declared ?? offset), little);
    f64(176, [slope, inter]);
    view.setInt32(344, qform.code, little);
    view.setInt32(348, sform.code, little);
    f64(352, [qform.b, qform.c, qform.d, qform.x, qform.y, qform.z, ...rows]);
    view.setInt32(500, units, little);
    view.setInt32(504, intent, little);
    [...intentName].forEach((c, n) => view.setUint8(508 + n, c.charCodeAt(0)));
  }
  flags.forEach((flag, n) => view.setUint8(headerBytes + n, flag));

  const image = pair ? new ArrayBuffer(offset + (values.length * bits) / 8) : undefined;
  const voxels = new DataView(image ?? header);
  values.forEach((value, n) => put(voxels, offset + (n * bits) / 8, dtype, value, little));
  return { header, image };
}

function put(view: DataView, at: number, dtype: TestDtype, value: number | bigint, little: boolean): void {
  const n = Number(value);
  if (dtype === 'uint8') view.setUint8(at, n);
  else if (dtype === 'int8') view.setInt8(at, n);
  else if (dtype === 'int16') view.setInt16(at, n, little);
  else if (dtype === 'uint16') view.setUint16(at, n, little);
  else if (dtype === 'int32') view.setInt32(at, n, little);
  else if (dtype === 'uint32') view.setUint32(at, n, little);
  else if (dtype === 'float32') view.setFloat32(at, n, little);
  else if (dtype === 'float64') view.setFloat64(at, n, little);
  else if (dtype === 'int64') view.setBigInt64(at, BigInt(value), little);
  else view.setBigUint64(at, BigInt(value), little);
}

/** The message of what `f` throws; an error of the test when it throws nothing, or something that is no Error. */
export async function messageOf(f: () => unknown): Promise<string> {
  try {
    await f();
  } catch (error) {
    if (!(error instanceof Error)) throw new Error(`thrown: ${String(error)}, not an Error`);
    return error.message;
  }
  throw new Error('nothing was thrown');
}

/** Mulberry32: numbers in [0, 1), the same for the same seed. */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
