// deqreg points: points through a displacement.
import { basename, dirname } from 'node:path';
import { applyAffine, invertAffine, lpsOf } from '../../io/affine.ts';
import { readPoints } from '../../io/files.ts';
import { transformPoints } from '../../register/points.ts';
import { type Options, parse, text, UsageError } from '../args.ts';
import { readField, readGrid } from '../fields.ts';
import { warn } from '../inputs.ts';
import { checkOutput, withOutputs } from '../outputs.ts';

export const summary = 'take points through a displacement: those of the fixed image to the moving one, or by an inverse the other way';
export const usage = 'deqreg points --in P.csv --displacement D --out Q.csv [--like GRID] [--ras]';
export const options = {
  in: {
    value: 'CSV',
    parse: text,
    required: true,
    help: 'a header, then points: its columns x, y, z are LPS mm, as in ITK and ANTs, or i, j, k voxels of the displacement; others are kept',
  },
  displacement: { value: 'FILE', parse: text, required: true, help: 'displacement of `deqreg register`, ITK or ANTs: 5-D NIfTI, LPS mm' },
  out: { value: 'CSV', parse: text, required: true, help: 'the same table with the points where the displacement takes them' },
  like: { value: 'FILE', parse: text, help: 'of i, j, k: volume whose voxels they become, usually the moving image' },
  ras: { help: 'x, y, z are RAS mm, in and out' },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const { in: path, displacement, out, like, ras } = parse(options, args);
  checkOutput(out, { '--in': path, '--displacement': displacement, '--like': like });
  const [table, field, grid] = await Promise.all([
    readPoints(path),
    readField(displacement),
    like === undefined ? undefined : readGrid(like),
  ]);
  if (table.voxels && !grid)
    throw new UsageError(`--like FILE is missing: ${path} has voxels i, j, k; of which image shall they become voxels?`);
  if (table.voxels && ras) throw new UsageError(`--ras does not apply: ${path} has voxels i, j, k`);
  if (!table.voxels && grid) throw new UsageError(`--like does not apply: ${path} has no columns i, j, k but mm`);

  const turn = (p: readonly number[]) => (table.voxels || ras ? lpsOf(p) : p); // affines lead to RAS mm
  const [toMm, fromMm] = grid ? [field.affine, invertAffine(grid.affine)] : [];
  const lps = each(table.points, (p) => turn(toMm ? applyAffine(toMm, p) : p));
  const { points, outside } = transformPoints(field, lps);
  const moved = each(points, (p) => (fromMm ? applyAffine(fromMm, turn(p)) : turn(p)));
  const count = points.length / 3;
  if (outside) warn([`${path}: ${outside} of ${count} points lie beyond the displacement's grid, where it goes on as at its border`]);
  await withOutputs(dirname(out), (write) => write(basename(out), table.encode(moved)));
  return 0;
}

/** Maps n×3 numbers point by point. */
function each(points: Float64Array, map: (point: readonly number[]) => readonly number[]): Float64Array {
  const out = new Float64Array(points.length);
  for (let n = 0; n < points.length; n += 3) out.set(map([points[n], points[n + 1], points[n + 2]]), n);
  return out;
}
