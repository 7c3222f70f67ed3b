// deqreg compose: maps of space, one after another, as one displacement.
import { identityAffine } from '../../io/affine.ts';
import { encodeDisplacement } from '../../io/nifti.ts';
import { checkReach, composeFields, fieldOfAffine, isAffine } from '../../register/fields.ts';
import { type Options, parse, text, UsageError } from '../args.ts';
import { outputName, readGrid, readMap, writeFromGpu } from '../fields.ts';
import { withPrefix } from '../inputs.ts';
import { checkOutput } from '../outputs.ts';

export const summary = 'compose displacements and affines: warping by the result is warping by the first, then by the second';
export const usage = 'deqreg compose --first A [--second B] [--like GRID] --out C';
export const options = {
  first: {
    value: 'FILE',
    parse: text,
    required: true,
    help: 'what an image is warped by first: a displacement (5-D NIfTI, LPS mm), or an affine of ITK (text) or ANTs (.mat)',
  },
  second: { value: 'FILE', parse: text, help: 'what the warped image is warped by then, likewise, on any grid (default: nothing)' },
  like: {
    value: 'FILE',
    parse: text,
    help: 'volume whose grid the result gets (default: the grid of the second; needed where that is no displacement)',
  },
  out: { value: 'FILE', parse: outputName, required: true, help: 'the displacement of x ↦ A(B(x)), .nii or .nii.gz' },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const { first: firstPath, second: secondPath, like, out } = parse(options, args);
  if (secondPath === undefined && like === undefined) throw new UsageError('--second FILE is missing, or --like FILE for the first alone');
  checkOutput(out, { '--first': firstPath, '--second': secondPath, '--like': like });
  const read = async (path: string) => ({ path, map: await readMap(path) });
  const [first, second, grid] = await Promise.all([
    read(firstPath),
    secondPath === undefined ? undefined : read(secondPath),
    like === undefined ? undefined : readGrid(like),
  ]);
  const { path, map: start } = grid ? { path: like!, map: fieldOfAffine(identityAffine, grid) } : second!;
  if (isAffine(start)) throw new UsageError(`--like FILE is missing: ${path} is an affine, which has no grid`);
  let map = start;
  await writeFromGpu(out, async (gpu) => {
    for (const before of grid && second ? [second, first] : [first]) {
      const { map: to } = before;
      if (!isAffine(to)) withPrefix(`${path}, ${before.path}`, () => checkReach(map, to));
      map = await composeFields(gpu, to, map);
    }
    return encodeDisplacement(map);
  });
  return 0;
}
