// deqreg invert: the displacement from moving points back to fixed points.
import { encodeDisplacement } from '../../io/nifti.ts';
import { checkReach, invert } from '../../register/fields.ts';
import { type Options, parse, text } from '../args.ts';
import { describeInverse, outputName, readField, readGrid, writeFromGpu } from '../fields.ts';
import { warn, withPrefix } from '../inputs.ts';
import { noInverse } from '../metrics.ts';
import { checkOutput } from '../outputs.ts';

export const summary = 'invert a displacement';
export const usage = 'deqreg invert --displacement D --out V [--like GRID]';
export const options = {
  displacement: { value: 'FILE', parse: text, required: true, help: 'displacement u of `deqreg register`, ITK or ANTs: 5-D NIfTI, LPS mm' },
  out: {
    value: 'FILE',
    parse: outputName,
    required: true,
    help: 'its inverse v, in the same form, .nii or .nii.gz: it warps the fixed image to the moving one',
  },
  like: {
    value: 'FILE',
    parse: text,
    help: 'volume whose grid the inverse gets, usually the moving image (default: the grid of the displacement)',
  },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const { displacement, out, like } = parse(options, args);
  checkOutput(out, { '--displacement': displacement, '--like': like });
  const [field, grid] = await Promise.all([readField(displacement), like === undefined ? undefined : readGrid(like)]);
  if (grid) withPrefix(`${displacement}, ${like}`, () => checkReach(field, grid));
  await writeFromGpu(out, async (gpu) => {
    const inverse = await invert(gpu, field, { grid });
    console.log(describeInverse(inverse.outcome));
    warn(noInverse(inverse.outcome));
    return encodeDisplacement(inverse.field);
  });
  return 0;
}
