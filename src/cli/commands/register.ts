// deqreg register: two volumes from files, the displacement between them and everything about it to files.
import { type Bytes, tags } from '../../gpu/ledger.ts';
import { mebibytes } from '../../gpu/device.ts';
import { openGpu } from '../gpu.ts';
import { affineModes } from '../../register/affine.ts';
import { largestOf, LEAST_BINDING } from '../../graph/plan.ts';
import { planInverse } from '../../register/fields.ts';
import { modalities } from '../../register/intensity.ts';
import { lambdas, methods, presets, REFINE, type RegisterOptions, resolveOptions } from '../../register/options.ts';
import { planRegistration, register } from '../../register/register.ts';
import { label, list, number, oneOf, type Options, parse, text, UsageError, whole } from '../args.ts';
import { type Inputs, warn } from '../inputs.ts';
import type { Report } from '../metrics.ts';
import { modelNote, type ModelFile, readModelFile, shippedModelFor } from '../models.ts';
import { checkFolder, withOutputs, type Write } from '../outputs.ts';
import { reporter } from '../progress.ts';
import { readInputs } from '../read-inputs.ts';
import { pack } from '../report/pack.ts';
import { deliver, FILES, MARK } from '../results.ts';
import { summarise } from '../summary.ts';

const { equilibrium, adam } = presets;

export const summary = 'register a moving volume to a fixed one';
export const usage = 'deqreg register --fixed F --moving M --out DIR [options]';
export const options = {
  fixed: {
    value: 'FILE',
    parse: text,
    required: true,
    help: 'fixed volume, NIfTI: .nii, .nii.gz, .hdr with .img; a frame of a 4-D file as cine.nii.gz[9], counted from 0',
  },
  moving: { value: 'FILE', parse: text, required: true, help: 'moving volume; on any grid, the affines bring the two together' },
  out: {
    value: 'DIR',
    parse: text,
    help: `folder for ${FILES.join(', ')}`,
  },
  'fixed-seg': { value: 'FILE', parse: text, help: 'labels on the fixed grid, to measure Dice and HD95' },
  'moving-seg': { value: 'FILE', parse: text, help: 'labels on the moving grid; alone, as of an atlas, they are only warped' },
  labels: { value: 'L,L,…', parse: list(label), help: 'labels that count (default: all that are in both, except 0)' },
  landmarks: {
    value: 'CSV',
    parse: text,
    help: 'lines of [name,] fixed i,j,k, moving i,j,k in voxels, or by a header of fixed_x, …, moving_z in LPS mm, to measure TRE',
  },
  'fixed-mask': { value: 'FILE', parse: text, help: 'where the fixed image counts (values above 0): in the similarity, folds and SDlogJ' },
  'moving-mask': { value: 'FILE', parse: text, help: 'where the moving image counts, in the similarity' },
  modality: {
    value: modalities.join('|'),
    parse: oneOf(...modalities),
    help: 'CT: window −1024…300 HU; MRI: up to the 99.5th percentile (default auto: by the values)',
  },
  affine: {
    value: affineModes.join('|'),
    parse: oneOf(...affineModes),
    help: 'alignment before the deformation (default auto: affine when the images start far apart)',
  },
  initial: {
    value: 'FILE',
    parse: text,
    help: "affine to start from, in place of the headers' places: ITK's text (affine.txt, .tfm) or ANTs' .mat; --affine then says what follows it",
  },
  method: {
    value: methods.join('|'),
    parse: oneOf(...methods),
    help: 'fixed point of the classical cell by Anderson acceleration, composed Adam steps, or fixed point of a trained cell (default equilibrium)',
  },
  model: {
    value: 'FILE',
    parse: text,
    help: 'trained cell of deq, .safetensors (default: the shipped one for the modality; see deqreg models)',
  },
  refine: {
    value: 'N',
    parse: whole,
    help: `evaluations of the classical cell, at most, that end a registration at twice the last level's resolution (default ${REFINE} where that is finer and has at most 8 million voxels, but 0 with --levels or deq)`,
  },
  levels: { value: 'F,F,…', parse: list(whole), help: 'coarsening of each level, coarse to fine, such as 8,4,2 (default: by the size)' },
  iterations: {
    value: 'N[,N,…]',
    parse: list(whole),
    help: `evaluations of the update at most, one number or one a level (default ${equilibrium.iterations}; adam ${adam.iterations}; deq: the model's)`,
  },
  tolerance: {
    value: 'T[,T,…]',
    parse: list(number),
    help: `a level ends when the RMS residual is below T of its voxels (default ${equilibrium.tolerance}; adam ${adam.tolerance}; deq: the model's)`,
  },
  lambda: {
    value: 'L[,L,…]',
    parse: list(number),
    help: `regularisation a step, voxel² of each level's finest axis; larger is smoother (default ${lambdas.usual.levels}, for CT and thick slices ${lambdas.smoother.levels}; deq: the model's)`,
  },
  window: { value: 'N', parse: whole, help: `width of the LNCC window in voxels, odd; not for deq (default ${equilibrium.window})` },
  inverse: { help: 'also write inverse_displacement.nii.gz, from moving point to fixed point, on the moving grid' },
  'no-report': { help: 'do not write report.html' },
  'dry-run': { help: 'tell the exact GPU memory this run will need, without a GPU, and stop' },
  quiet: { help: 'print nothing but errors' },
  json: { help: 'print metrics.json (or the dry run) instead of the summary' },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const started = performance.now();
  const given = parse(options, args);
  const { fixed, moving, out, labels, landmarks, initial, method, affine, modality, inverse, quiet, json } = given;
  const {
    'fixed-mask': fixedMask,
    'moving-mask': movingMask,
    'fixed-seg': fixedSeg,
    'moving-seg': movingSeg,
    'no-report': noReport,
    'dry-run': dryRun,
  } = given;
  if (fixedSeg && !movingSeg) throw new UsageError('--moving-seg FILE is missing: Dice needs both label maps');
  if (labels && !fixedSeg) throw new UsageError('--labels needs --fixed-seg and --moving-seg');
  if (!out && !dryRun) throw new UsageError('--out DIR is missing');
  if (given.model && method !== 'deq') throw new UsageError('--model does not apply without --method deq');
  if (!dryRun)
    checkFolder(
      out!,
      FILES,
      {
        'fixed volume': fixed,
        'moving volume': moving,
        'fixed labels': fixedSeg,
        'moving labels': movingSeg,
        'fixed mask': fixedMask,
        'moving mask': movingMask,
        'initial affine': initial,
      },
      MARK,
    );
  const named = given.model === undefined ? undefined : await readModelFile(given.model);

  const inputs = await readInputs({ fixed, moving, fixedMask, movingMask, fixedSeg, movingSeg, landmarks, initial }, labels, affine);
  if (!quiet) warn(inputs.warnings);
  const trained = method === 'deq' ? (named ?? (await shippedModelFor(inputs.fixed, modality))) : undefined;
  const requested = { ...requestedOptions(given), initial: inputs.initial, model: trained?.model };
  const read = performance.now();
  const { plan, options: resolved } = planFor(inputs, requested);
  if (dryRun) {
    const inversion = inverse ? planInverse(inputs.fixed, inputs.moving).peak : undefined;
    if (json) {
      const memory = { planned: plan.peak, largestBuffer: largestOf(plan)!.bytes, ...(inversion && { inversion }) };
      print(JSON.stringify({ memory, options: resolved, ...(trained && { model: modelNote(trained) }) }, null, 2));
    } else if (!quiet) {
      print(`GPU memory this registration needs:\n${memoryTable(plan.peak)}`);
      const largest = largestOf(plan)!;
      print(
        `  its largest buffer has ${mebibytes(largest.bytes)} (${largest.label}); an adapter binds at least ${mebibytes(LEAST_BINDING)}`,
      );
      if (inversion) print(`and afterwards its inversion:\n${memoryTable(inversion)}`);
    }
    return 0;
  }
  const how = { inverse, quiet, trained, quoted: noReport ? undefined : args };
  const done = await withOutputs(out!, (write) => registerInto(write, inputs, requested, how, { started, read }), FILES);
  if (json) print(JSON.stringify(done, null, 2));
  else if (!quiet) print(summarise(done, out!, !noReport));
  return 0;
}

/** What of the command line is for the registration itself, but for what is in files; a list of one value is that value for all levels. */
export function requestedOptions(
  given: Omit<RegisterOptions, PerLevel | 'model' | 'initial'> & { [K in PerLevel]?: number[] },
): RegisterOptions {
  const perLevel = (values?: number[]) => (values?.length === 1 ? values[0] : values);
  const [iterations, tolerance, lambda] = [given.iterations, given.tolerance, given.lambda].map(perLevel);
  const { method, refine, levels, window, affine, modality } = given;
  return { method, refine, levels, iterations, tolerance, lambda, window, affine, modality };
}
type PerLevel = 'iterations' | 'tolerance' | 'lambda';

/** Resolves the options against the volumes and traces the whole registration: what is wrong with it shows here, without a GPU. */
function planFor({ fixed, moving }: Inputs, requested: RegisterOptions) {
  try {
    resolveOptions(requested, fixed);
  } catch (error) {
    throw new UsageError(`--${(error as Error).message}`); // its messages begin with the option's name
  }
  return planRegistration(fixed, moving, requested);
}

/** Registers, and writes all files. `quoted` are the arguments that the report shows; without them there is no report. */
async function registerInto(
  write: Write,
  inputs: Inputs,
  requested: RegisterOptions,
  { inverse, quiet, trained, quoted }: { inverse: boolean; quiet: boolean; trained?: ModelFile; quoted?: string[] },
  { started, read }: { started: number; read: number },
): Promise<Report> {
  const gpu = await openGpu();
  const opened = performance.now();
  const progress = reporter(quiet);
  try {
    const registration = await register(gpu, inputs.fixed, inputs.moving, requested, progress.show).finally(progress.end);
    return await deliver(gpu, inputs, registration, {
      write,
      inverse,
      reported: quoted && { quoted, pack },
      model: trained && modelNote(trained),
      started,
      before: { read: (read - started) / 1e3, prepare: (opened - read) / 1e3 },
      warn: quiet ? () => {} : warn,
    });
  } finally {
    gpu.close();
  }
}

function memoryTable({ total, byTag }: Bytes): string {
  const rows = tags.filter((tag) => byTag[tag]).map((tag) => [tag, byTag[tag]] as const);
  return [...rows, ['total', total] as const]
    .map(([name, bytes]) => `  ${name.padEnd(10)}  ${mebibytes(bytes).padStart(9)}  ${bytes} bytes`)
    .join('\n');
}

const print = (message: string) => console.log(message);
