// deqreg convert: a displacement from one convention to another.
import { basename, dirname } from 'node:path';
import { convertDisplacement, type DisplacementForm, displacementForms } from '../../io/displacement.ts';
import { readVolume } from '../../io/files.ts';
import { encodeDisplacement } from '../../io/nifti.ts';
import { gridOf } from '../../io/volume.ts';
import { oneOf, type Options, parse, text } from '../args.ts';
import { checkFieldGrid, outputName, readField } from '../fields.ts';
import { doubts, warn } from '../inputs.ts';
import { checkOutput, withOutputs } from '../outputs.ts';

export const summary = 'convert a displacement between ITK or ANTs (LPS mm), Learn2Reg (voxels) and NIfTI (RAS mm)';
export const usage = 'deqreg convert --in D --out E --from FORM --to FORM [--fixed F]';
const forms = Object.keys(displacementForms) as DisplacementForm[];
export const options = {
  in: { value: 'FILE', parse: text, required: true, help: 'displacement in the first form' },
  out: { value: 'FILE', parse: outputName, required: true, help: 'the same displacement in the second form, .nii or .nii.gz' },
  from: { value: forms.join('|'), parse: oneOf(...forms), required: true, help: `itk: ${displacementForms.itk.layout}, LPS mm` },
  to: {
    value: forms.join('|'),
    parse: oneOf(...forms),
    required: true,
    help: 'learn2reg: W×H×D×3, voxels i, j, k, of fixed and moving images on one grid; ras: W×H×D×1×3, intent 1006, RAS mm',
  },
  fixed: {
    value: 'FILE',
    parse: text,
    help: 'fixed volume, whose affine holds (default: that of the file; Learn2Reg files often lack a true one)',
  },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const { in: path, out, from, to, fixed } = parse(options, args);
  checkOutput(out, { '--in': path, '--fixed': fixed });
  const [stored, grid] = await Promise.all([readField(path, from), fixed === undefined ? undefined : readVolume(fixed)]);
  if (grid) checkFieldGrid(path, stored, from, fixed!, grid);
  if (!grid && from === 'learn2reg') warn(doubts([[path, stored]]).map((line) => `${line}; the fixed volume has one: --fixed FILE`));
  const on = gridOf(grid ?? stored);
  const data = convertDisplacement(stored.data, on, from, to);
  await withOutputs(dirname(out), (write) => write(basename(out), encodeDisplacement({ ...on, data }, to)));
  return 0;
}
