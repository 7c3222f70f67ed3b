// deqreg measure: the figures of a displacement that exists, whoever made it, by the code that measures a registration.
import { convertDisplacement, type DisplacementForm, displacementForms, fromPhysical } from '../../io/displacement.ts';
import { sameGrid } from '../../io/volume.ts';
import { intensityWindow } from '../../register/intensity.ts';
import { jacobianDeterminants } from '../../register/metrics.ts';
import { oneOf, type Options, parse, table, text, UsageError } from '../args.ts';
import { checkFieldGrid, readField } from '../fields.ts';
import { warn } from '../inputs.ts';
import { accuracy, labelsWarpedBy, regularity, speaksAgainst } from '../metrics.ts';
import { readInputs } from '../read-inputs.ts';
import { accuracyRows, foldsRow } from '../summary.ts';
import { options as ofRegister } from './register.ts';

const { fixed, moving, 'fixed-seg': fixedSeg, 'moving-seg': movingSeg, labels, landmarks } = ofRegister;
const forms = Object.keys(displacementForms) as DisplacementForm[];

export const summary = 'measure a displacement of any program: Dice, HD95, TRE, folds; without a GPU';
export const usage = 'deqreg measure --displacement D --fixed F --moving M [--fixed-seg FS --moving-seg MS] [--landmarks CSV] [options]';
export const options = {
  displacement: { value: 'FILE', parse: text, required: true, help: 'from fixed to moving points, on the grid of the fixed image' },
  form: {
    value: forms.join('|'),
    parse: oneOf(...forms),
    help: `itk (default): ${displacementForms.itk.layout}, LPS mm; learn2reg: W×H×D×3, voxels i, j, k, both images on one grid; ras: intent 1006, RAS mm`,
  },
  fixed,
  moving,
  'fixed-seg': fixedSeg,
  'moving-seg': movingSeg,
  labels,
  landmarks,
  'fixed-mask': { value: 'FILE', parse: text, help: 'where folds and SDlogJ count (default: the fixed labels, else the foreground)' },
  json: { help: 'print JSON, with the figures of metrics.json' },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const given = parse(options, args);
  const { displacement: path, form = 'itk', json } = given;
  if (given['fixed-seg'] && !given['moving-seg']) throw new UsageError('--moving-seg FILE is missing: Dice needs both label maps');
  const paths = {
    fixed: given.fixed,
    moving: given.moving,
    fixedMask: given['fixed-mask'],
    fixedSeg: given['fixed-seg'],
    movingSeg: given['moving-seg'],
    landmarks: given.landmarks,
  };
  // Aligned as by `moments`: the headers need not overlap, the displacement may lead from far.
  const [inputs, field] = await Promise.all([readInputs(paths, given.labels, 'moments'), readField(path, form)]);
  const grid = inputs.fixed;
  checkFieldGrid(path, field, form, paths.fixed, grid);
  if (form === 'learn2reg' && !sameGrid(grid, inputs.moving))
    throw new Error(`${path}: voxels of one grid for both images, but ${paths.fixed} and ${paths.moving} are on two`);
  const u = form === 'learn2reg' ? field.data : fromPhysical(convertDisplacement(field.data, grid, form, 'itk'), grid);
  const figures = {
    ...accuracy(inputs, u, labelsWarpedBy(u, inputs)),
    ...regularity(u, jacobianDeterminants(u, grid.size), inputs, intensityWindow(grid.data, 'auto', grid.mask)),
  };
  const warnings = [...inputs.warnings, ...speaksAgainst(figures)];
  warn(warnings);
  if (json) console.log(JSON.stringify({ ...figures, inputs: { displacement: path, form, ...paths }, warnings }, null, 2));
  else console.log(table([...accuracyRows(figures), foldsRow(figures)]).join('\n'));
  return 0;
}
