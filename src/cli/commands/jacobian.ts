// deqreg jacobian: where a displacement expands, shrinks and folds.
import { fromPhysical } from '../../io/displacement.ts';
import { encodeNifti } from '../../io/nifti.ts';
import { nonDiffeomorphicPercent } from '../../register/diffeomorphic.ts';
import { jacobian } from '../../register/fields.ts';
import { determinantStats } from '../../register/metrics.ts';
import { type Options, parse, table, text } from '../args.ts';
import { outputName, readField, writeFromGpu } from '../fields.ts';
import { checkOutput } from '../outputs.ts';

export const summary = 'map the Jacobian determinant of a displacement, and count its folds';
export const usage = 'deqreg jacobian --displacement D --out J [--log]';
export const options = {
  displacement: { value: 'FILE', parse: text, required: true, help: 'displacement of `deqreg register`, ITK or ANTs: 5-D NIfTI, LPS mm' },
  out: {
    value: 'FILE',
    parse: outputName,
    required: true,
    help: 'the determinant, .nii or .nii.gz, float32: 1 keeps the volume, ≤ 0 is a fold',
  },
  log: { help: 'write its natural logarithm, the determinant clipped at 1e-9' },
} satisfies Options;

/** Determinants below are clipped before the logarithm, as in SDlogJ. */
const CLIP = 1e-9;

export async function run(args: string[]): Promise<number> {
  const { displacement, out, log } = parse(options, args);
  checkOutput(out, { '--displacement': displacement });
  const field = await readField(displacement);
  await writeFromGpu(out, async (gpu) => {
    const determinant = await jacobian(gpu, field);
    const { data, size } = determinant;
    const ndv = nonDiffeomorphicPercent(fromPhysical(field.data, field), size);
    const { foldingPercent, minJ, maxJ, sdLogJ, sdLogJLearn2Reg } = determinantStats(data);
    console.log(
      table([
        ['folds', `${foldingPercent.toFixed(4)} % of the grid`],
        ['J', `${minJ.toFixed(4)} … ${maxJ.toFixed(4)}`],
        ['SDlogJ', `${sdLogJ.toFixed(4)} (Learn2Reg's log(J + 3): ${sdLogJLearn2Reg.toFixed(4)})`],
        ['NDV', `${ndv.toFixed(4)} % of the grid (non-diffeomorphic volume)`],
      ]).join('\n'),
    );
    return encodeNifti({ ...determinant, data: log ? data.map((det) => Math.log(Math.max(det, CLIP))) : data });
  });
  return 0;
}
