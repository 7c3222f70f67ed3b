// ITK's files for linear transforms (LPS mm, from fixed points to moving points), as ANTs, 3D Slicer, SimpleITK and elastix write them:
// text, and the binary .mat of ANTs.
import { type Affine, applyAffine, composeAffine, identityAffine, invertAffine } from './affine.ts';
import { bytesOf, type Content } from './bytes.ts';

/** One transform of a file. `fixed` are the parameters that are not optimised: the centre, first. */
interface Stored {
  type: string;
  parameters: readonly number[];
  fixed: readonly number[];
}

/** Linear part and translation of y = A·(x − c) + c + t, which ITK's transforms are but for how they are parametrised. */
interface Linear {
  a: readonly number[];
  t: readonly number[];
}

/** By ITK's class: how many parameters, and what they mean (itk*Transform.hxx). */
const classes: Record<string, { count: number; of: (p: readonly number[], fixed: readonly number[]) => Linear }> = {
  AffineTransform: { count: 12, of: (p) => ({ a: p.slice(0, 9), t: p.slice(9) }) },
  MatrixOffsetTransformBase: { count: 12, of: (p) => ({ a: p.slice(0, 9), t: p.slice(9) }) },
  TranslationTransform: { count: 3, of: (p) => ({ a: versor([0, 0, 0]), t: p }) },
  Euler3DTransform: { count: 6, of: (p, fixed) => ({ a: euler(p, fixed[3] === 1), t: p.slice(3) }) },
  VersorRigid3DTransform: { count: 6, of: (p) => ({ a: versor(p), t: p.slice(3) }) },
  Similarity3DTransform: { count: 7, of: (p) => ({ a: versor(p).map((x) => x * p[6]), t: p.slice(3, 6) }) },
};
const COMPOSITE = 'CompositeTransform';

/**
 * The affine (RAS mm, fixed point → moving point) of an ITK transform file, its text or binary form by content. `name` begins the errors.
 * Throws on transforms that are not linear, on several that are not one composite, and on one that cannot be inverted.
 */
export function parseItkAffine(name: string, content: Content): Affine {
  const bytes = bytesOf(content);
  const text = new TextDecoder().decode(bytes);
  const stored = text.startsWith('#Insight Transform File') ? textual(name, text) : binary(name, bytes);
  const composite = !!stored[0]?.type.startsWith(`${COMPOSITE}_`);
  const parts = composite ? stored.slice(1) : stored;
  if (!parts.length) throw new Error(`${name}: no transform in it`);
  if (parts.length > 1 && !composite)
    throw new Error(`${name}: ${parts.length} transforms that are no ${COMPOSITE}: in which order, it does not say; give them one by one`);
  // The last of a composite is applied first (itkCompositeTransform.h).
  const lps = parts.map((part) => linear(name, part)).reduce((whole, part) => composeAffine(whole, part), identityAffine);
  const ras = turned(lps);
  try {
    invertAffine(ras);
  } catch (error) {
    throw new Error(`${name}: its ${(error as Error).message}`);
  }
  return ras;
}

/** The text of a file for an affine in RAS mm. */
export function encodeItkAffine(ras: Affine): string {
  const lps = turned(ras);
  const parameters = [...[0, 4, 8].flatMap((row) => lps.slice(row, row + 3)), lps[3], lps[7], lps[11]];
  return [
    '#Insight Transform File V1.0',
    '#Transform 0',
    'Transform: AffineTransform_double_3_3',
    `Parameters: ${parameters.map((x) => x + 0).join(' ')}`,
    'FixedParameters: 0 0 0',
    '',
  ].join('\n');
}

/** LPS mm as RAS mm, or the reverse: x and y change their signs on both sides. */
function turned(affine: Affine): Affine {
  const sign = [-1, -1, 1, 1];
  return affine.map((x, n) => x * sign[n >> 2] * sign[n % 4]);
}

function linear(name: string, { type, parameters: p, fixed }: Stored): Affine {
  const [kind, precision, ...dimensions] = type.split('_');
  const known = Object.hasOwn(classes, kind) ? classes[kind] : undefined;
  if (!known || !/^(double|float)$/.test(precision ?? '') || dimensions.join() !== '3,3')
    throw new Error(`${name}: holds a ${type}; only 3-D ${Object.keys(classes).join(', ')}, and ${COMPOSITE} of them, are linear and read`);
  if (p.length !== known.count || ![...p, ...fixed].every(Number.isFinite))
    throw new Error(`${name}: ${type} needs ${known.count} numbers, got ${p.length ? p.join(' ') : 'none'}`);
  if (fixed.length && fixed.length < 3)
    throw new Error(`${name}: FixedParameters of ${type} begin with a centre x y z, got ${fixed.join(' ')}`);
  const { a, t } = known.of(p, fixed);
  const centre = [0, 1, 2].map((axis) => fixed[axis] ?? 0);
  const turn = [0, 1, 2].flatMap((row) => [...a.slice(3 * row, 3 * row + 3), 0]);
  const moved = applyAffine(turn, centre);
  return turn.map((x, n) => (n % 4 < 3 ? x : t[n >> 2] + centre[n >> 2] - moved[n >> 2]));
}

/** The rotation of a quaternion's vector part, 3×3. */
function versor([x, y, z]: readonly number[]): number[] {
  const w = Math.sqrt(Math.max(0, 1 - x * x - y * y - z * z));
  return rotation(w, x, y, z);
}

function rotation(w: number, x: number, y: number, z: number): number[] {
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
  ].flat();
}

/** Rz·Rx·Ry, or Rz·Ry·Rx, of angles in radians, 3×3. */
function euler(angles: readonly number[], zyx: boolean): number[] {
  const [x, y, z] = angles.slice(0, 3).map((angle, axis): Affine => {
    const [sin, cos] = [Math.sin(angle / 2), Math.cos(angle / 2)];
    const about = [0, 1, 2].map((other) => (other === axis ? sin : 0)) as [number, number, number];
    const r = rotation(cos, ...about);
    return [0, 1, 2].flatMap((row) => [...r.slice(3 * row, 3 * row + 3), 0]);
  }) as [Affine, Affine, Affine];
  const whole = composeAffine(z, zyx ? composeAffine(y, x) : composeAffine(x, y));
  return whole.filter((_, n) => n % 4 < 3);
}

/** ITK's text form: `key: value` lines, a transform begins with its type. */
function textual(name: string, text: string): Stored[] {
  const stored: Stored[] = [];
  const numbers = (value: string) => value.split(/\s+/).filter(Boolean).map(Number);
  for (const line of text.split(/\r\n|\n|\r/)) {
    const [, key, value] = /^([A-Za-z]+):\s*(.*)$/.exec(line.trim()) ?? [];
    if (key === undefined) continue;
    if (key === 'Transform') stored.push({ type: value, parameters: [], fixed: [] });
    const last = stored.at(-1);
    if (!last) throw new Error(`${name}: ${key} before any Transform`);
    if (key === 'Parameters') last.parameters = numbers(value);
    if (key === 'FixedParameters') last.fixed = numbers(value);
  }
  return stored;
}

/**
 * MATLAB's format 4, as ITK has it: each transform two columns of numbers, its parameters by the name of its type, then those named
 * `fixed`.
 */
function binary(name: string, bytes: Uint8Array): Stored[] {
  const refuse = (): never => {
    if (/^\s*([-+.\de]+\s+){15}[-+.\de]+\s*$/i.test(String.fromCharCode(...bytes.subarray(0, 1000))))
      throw new Error(
        `${name}: no ITK transform but 16 numbers; if they are FLIRT's matrix, c3d_affine_tool -ref FIXED -src MOVING ${name} -fsl2ras -oitk OUT.txt makes one of it`,
      );
    throw new Error(`${name}: no ITK transform: neither its text, which begins with #Insight Transform File, nor its .mat`);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stored: Stored[] = [];
  for (let at = 0; at < bytes.length;) {
    if (at + 20 > bytes.length) refuse();
    const [format, rows, columns, imaginary, letters] = [0, 4, 8, 12, 16].map((field) => view.getInt32(at + field, true)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const width = format % 100 === 10 ? 4 : 8; // format: 10 single, 0 double; 100 row by row, which a column does not care about
    const start = at + 20 + letters;
    const end = start + rows * columns * width;
    const plausible = [0, 10, 100, 110].includes(format) && rows >= 0 && rows <= 1024 && columns >= 0 && columns <= 1 && imaginary === 0;
    if (!plausible || letters < 2 || letters > 256 || end > bytes.length) refuse();
    const variable = new TextDecoder().decode(bytes.subarray(at + 20, start - 1)); // it ends with a 0
    const values = Array.from({ length: rows }, (_, row) =>
      width === 4 ? view.getFloat32(start + 4 * row, true) : view.getFloat64(start + 8 * row, true),
    );
    const last = stored.at(-1);
    if (variable !== 'fixed') stored.push({ type: variable, parameters: values, fixed: [] });
    else if (last) last.fixed = values;
    else refuse();
    at = end;
  }
  return stored;
}
