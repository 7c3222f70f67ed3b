// What a registration leaves behind: its figures, the transform and what it warps, the report, and what all that is known by.
import { toPhysical } from '../io/displacement.ts';
import { encodeDisplacement, encodeNifti, type DisplacementField } from '../io/nifti.ts';
import { imageType, labelType } from '../io/stored-type.ts';
import { encodeItkAffine } from '../io/transform.ts';
import { gridOf } from '../io/volume.ts';
import type { Gpu } from '../gpu/device.ts';
import { invert } from '../register/fields.ts';
import { jacobianDeterminants } from '../register/metrics.ts';
import type { Registration } from '../register/register.ts';
import type { Inputs } from './inputs.ts';
import { labelsWarpedBy, noInverse, quality, report, type Report, speaksAgainst } from './metrics.ts';
import type { ModelNote } from './models.ts';
import type { Mark, Write } from './outputs.ts';
import type { Pack } from './report/codec.ts';
import { pictures } from './report/pictures.ts';
import { reportPage } from './report/report.ts';

/** All that a registration may leave in its folder. */
export const FILES = [
  'warped.nii.gz',
  'displacement.nii.gz',
  'affine.txt',
  'warped_seg.nii.gz',
  'inverse_displacement.nii.gz',
  'metrics.json',
  'report.html',
];

export const MARK: Mark = { file: 'metrics.json', holds: ['solver', 'version'] };

export interface Delivery {
  /** Starts to write a file. Without it nothing is written. */
  write?: Write;
  /** Whether the inverse is to be written, too. */
  inverse?: boolean;
  /** A report is wanted, too: the arguments of `deqreg register` that it quotes, and how its layers are packed. */
  reported?: { quoted: readonly string[]; pack: Pack };
  model?: ModelNote;
  /** When all began, on performance.now(), and the seconds from then to the registration. */
  started: number;
  before: { read: number; prepare: number };
  /** Told what speaks against the result, as soon as it is known. */
  warn(lines: readonly string[]): void;
}

/**
 * Measures a registration while its files are written (compression runs in threads); resolves to the content of metrics.json when all are
 * there.
 */
export async function deliver(gpu: Gpu, inputs: Inputs, registration: Registration, how: Delivery): Promise<Report> {
  const { write, inverse, reported, model, started, before, warn } = how;
  const { fixed, moving } = inputs;
  const { displacement } = registration;
  const seconds = (from: number, to: number) => (to - from) / 1e3;
  warn(registration.warnings);

  const solved = performance.now();
  const field = write && { ...gridOf(fixed), data: toPhysical(displacement, fixed) };
  const inverted = field && inverse ? await invert(gpu, field, { grid: moving }) : undefined;
  if (inverted) warn(noInverse(inverted.outcome));
  const registered = performance.now();
  const files = field ? writeResults(write, inputs, registration, field, inverted?.field) : [];
  const labels = labelsWarpedBy(displacement, inputs);
  if (write && labels) files.push(writeLabels(write, inputs, labels));
  const encoded = performance.now();
  const determinants = jacobianDeterminants(displacement, fixed.size);
  const figures = quality(inputs, registration, labels, determinants);
  warn(speaksAgainst(figures));
  const measured = performance.now();
  const [shown] = await Promise.all([reported && pictures(inputs, registration, determinants, reported.pack, labels), ...files]);
  const ended = performance.now();

  const { affine, prepare, solve, finish } = registration.seconds;
  const done = report(
    inputs,
    registration,
    figures,
    gpu.info,
    {
      read: before.read,
      prepare: before.prepare + prepare,
      affine,
      solve: solve + finish,
      ...(inverted && { invert: seconds(solved, registered) }),
      metrics: seconds(encoded, measured),
      write: seconds(registered, encoded) + seconds(measured, ended),
      total: seconds(started, ended),
    },
    inverted?.outcome,
    model,
  );
  if (reported && shown) await write?.('report.html', reportPage(done, shown, reported.quoted));
  await write?.('metrics.json', `${JSON.stringify(done, null, 2)}\n`);
  return done;
}

/** Starts to write the transform and what it makes of the image; `field` is the displacement in LPS mm. */
function writeResults(
  write: Write,
  { moving, initial }: Inputs,
  { warped, affine: alignment }: Registration,
  field: DisplacementField,
  inverse?: DisplacementField,
): Promise<void>[] {
  const files = [
    write('displacement.nii.gz', encodeDisplacement(field)),
    write('warped.nii.gz', encodeNifti({ ...warped, dtype: imageType(moving) })),
  ];
  if (alignment.mode !== 'none' || initial) files.push(write('affine.txt', encodeItkAffine(alignment.matrix)));
  if (inverse) files.push(write('inverse_displacement.nii.gz', encodeDisplacement(inverse)));
  return files;
}

/** Starts to write the moving labels on the fixed grid. */
const writeLabels = (write: Write, { fixed, movingLabels }: Inputs, labels: Float32Array): Promise<void> =>
  write('warped_seg.nii.gz', encodeNifti({ ...gridOf(fixed), data: labels, dtype: labelType(movingLabels!) }));
