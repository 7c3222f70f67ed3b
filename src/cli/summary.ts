// A finished registration for people: what was reached, what it took, where the files are.
import { mebibytes } from '../gpu/device.ts';
import type { IntensityWindow } from '../register/intensity.ts';
import { NEGLIGIBLE } from '../register/overlap.ts';
import { table } from './args.ts';
import { describeInverse } from './fields.ts';
import { lostLabels } from './lost-labels.ts';
import type { Report } from './metrics.ts';

export function summarise(done: Report, folder: string, reported: boolean): string {
  const { similarity, inverse, affine, coverage, intensities, model, solver, seconds, memory, adapter } = done;
  const levels = solver.levels
    .map(
      ({ factor, stage, result, iterations }) =>
        `1/${factor} ${stage && result === 'max-iterations' ? 'refined by' : `${result} after`} ${iterations}`,
    )
    .join(', ');
  const { read, affine: align, prepare, solve, invert, metrics, write, total } = seconds;
  const files = [
    'warped.nii.gz',
    'displacement.nii.gz',
    ...(affine.mode === 'none' && !done.inputs.initial ? [] : ['affine.txt']),
    ...(done.inputs.movingSeg ? ['warped_seg.nii.gz'] : []),
    ...(inverse ? ['inverse_displacement.nii.gz'] : []),
    'metrics.json',
    ...(reported ? ['report.html'] : []),
  ];
  return table([
    ...accuracyRows(done),
    ['LNCC', `${similarity.before.toFixed(3)} → ${similarity.after.toFixed(3)}`],
    foldsRow(done),
    ...(inverse ? [['inverse', describeInverse(inverse)]] : []),
    ['images', modality(intensities.fixed, intensities.moving)],
    [
      'affine',
      (done.inputs.initial ? `${done.inputs.initial}, then ` : '') +
        (affine.mode === 'none'
          ? `none (${affine.requested === 'auto' ? 'the images start close together' : 'as asked'})`
          : `${affine.mode}${affine.requested === 'auto' ? ' (the images start far apart)' : affine.requested === affine.mode ? '' : ' (an affine fit went astray)'}: NCC ${affine.ncc.before.toFixed(3)} → ${affine.ncc.after.toFixed(3)}, ${affine.motion.toFixed(1)} mm on average`),
    ],
    ...(coverage < 1 - NEGLIGIBLE
      ? [['coverage', `${(100 * (1 - coverage)).toFixed(0)} % of the fixed grid lies outside the moving image and was not compared`]]
      : []),
    ...(model ? [['model', `${model.name} (${model.file}): ${model.summary}`]] : []),
    ['solver', `${solver.method}: ${levels}`],
    [
      'time',
      `${total.toFixed(1)} s (read ${read.toFixed(1)}, prepare ${prepare.toFixed(1)}, affine ${align.toFixed(1)}, solve ${solve.toFixed(1)}, ${invert === undefined ? '' : `invert ${invert.toFixed(1)}, `}metrics ${metrics.toFixed(1)}, write ${write.toFixed(1)})`,
    ],
    ['memory', `${mebibytes(memory.measured.total)} on ${adapter.description}`],
    ['files', `${files.join(', ')} in ${folder}`],
  ]).join('\n');
}

/** What labels and landmarks say, where there are some. */
export function accuracyRows({ dice, hd95, tre }: Pick<Report, 'dice' | 'hd95' | 'tre'>): string[][] {
  const lost = hd95 && lostLabels(hd95);
  const spread = (mean: number, sd: number) => `${mean.toFixed(2)} ± ${sd.toFixed(2)}`;
  return [
    ...(dice
      ? [['Dice', `${dice.before.toFixed(3)} → ${dice.mean.toFixed(3)} (mean of ${Object.keys(dice.perLabel).length} labels)`]]
      : []),
    ...(hd95 ? [['HD95', lost ? `not defined: ${lost}` : `${hd95.mean.toFixed(2)} mm`]] : []),
    ...(tre
      ? [['TRE', `${spread(tre.before, tre.beforeSd)} → ${spread(tre.after, tre.afterSd)} mm, at most ${tre.afterMax.toFixed(2)} mm`]]
      : []),
  ];
}

export const foldsRow = ({
  region,
  foldingPercent,
  ndvPercent,
  sdLogJ,
}: Pick<Report, 'region' | 'foldingPercent' | 'ndvPercent' | 'sdLogJ'>): string[] => [
  'folds',
  `${foldingPercent.toFixed(3)} % of the ${region}, ${Number.isNaN(ndvPercent) ? '' : `NDV ${ndvPercent.toFixed(4)} %, `}SDlogJ ${sdLogJ.toFixed(3)}`,
];

/** The kind of both images, each with the window of values that was compared. */
function modality(fixed: IntensityWindow, moving: IntensityWindow): string {
  const one = ({ modality, low, high }: IntensityWindow) =>
    `${modality.toUpperCase()}, window ${Number(low.toPrecision(4))} … ${Number(high.toPrecision(4))}`;
  return one(fixed) === one(moving) ? one(fixed) : `${one(fixed)}; moving ${one(moving)}`;
}
