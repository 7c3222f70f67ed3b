// deqreg compose: two displacements, one after another, as one.
import { encodeDisplacement } from '../../io/nifti.ts';
import { checkReach, composeFields } from '../../register/fields.ts';
import { type Options, parse, text } from '../args.ts';
import { outputName, readField, writeFromGpu } from '../fields.ts';
import { within } from '../inputs.ts';
import { checkOutput } from '../outputs.ts';

export const summary = 'compose two displacements: warping by the result is warping by the first, then by the second';
export const usage = 'deqreg compose --first A --second B --out C';
export const options = {
  first: { value: 'FILE', parse: text, required: true, help: 'displacement that an image is warped by first: 5-D NIfTI, LPS mm' },
  second: { value: 'FILE', parse: text, required: true, help: 'displacement that the warped image is warped by then, on any grid' },
  out: { value: 'FILE', parse: outputName, required: true, help: 'the field of x ↦ A(B(x)), on the grid of the second, .nii or .nii.gz' },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const { first: firstPath, second: secondPath, out } = parse(options, args);
  checkOutput(out, { '--first': firstPath, '--second': secondPath });
  const [first, second] = await Promise.all([readField(firstPath), readField(secondPath)]);
  within(`${secondPath}, ${firstPath}`, () => checkReach(second, first));
  await writeFromGpu(out, async (gpu) => encodeDisplacement(await composeFields(gpu, first, second)));
  return 0;
}
