// deqreg plan --memory: the ways to train that fit, as a table or JSON, and the settings of the best of them.
import { mebibytes } from '../gpu/device.ts';
import { type Fit, fitsOf, optionsOf, recommended } from '../train/fit.ts';
import { defaults, type GivenTrainOptions } from '../train/options.ts';
import { list, memory, number, type Options, UsageError, type Values } from './args.ts';
import { above0, type trainingOptions } from './training.ts';

const CONFIG = 'config.json';
const resolutions: Record<number, string> = { 1: 'full resolution', 2: 'half', 4: 'a quarter' };

export const fitOptions = {
  memory: {
    value: 'SIZE',
    parse: memory,
    help: 'instead: what deqreg train can do in this memory (8GiB, 8GB, 8192MiB): levels, channels, storage and gradient, but for those given here; --steps is then 6, as in deqreg train',
  },
  labels: { value: 'N', parse: above0, help: 'with --memory: labels whose Dice counts (default: images without label maps)' },
  spacing: { value: 'X,Y,Z', parse: spacing, help: 'with --memory: mm of a voxel along i, j, k (default 1,1,1)' },
} satisfies Options;

function spacing(value: string): [number, number, number] {
  const mm = list(number)(value);
  if (mm.length !== 3 || mm.some((v) => v <= 0)) throw new UsageError(`three numbers above 0 are needed, got ${value}`);
  return mm as [number, number, number];
}

/** Prints what fits into so many bytes. What the command line gives is not asked about. */
export function whatFits(
  bytes: number,
  given: Values<typeof trainingOptions>,
  { labels = 0, spacing }: Partial<Values<typeof fitOptions>>,
): number {
  const { size, cell, channels, similarity, dtype, adjoint, steps, json } = given;
  const options: GivenTrainOptions = {
    ...(cell && { cell }),
    ...(similarity && { similarity }),
    ...(steps && { unrolledSteps: steps }),
  };
  const among = { ...(channels && { channels: [channels] }), ...(dtype && { dtype: [dtype] }), ...(adjoint && { adjoint: [adjoint] }) };
  const fits = fitsOf({ size, spacing, bytes, options, labels, among });
  if (!fits.length) throw new UsageError(`--size: ${size.join(',')}: too few voxels; at least 8 along each axis are needed`);
  const best = recommended(fits);
  const config = best && configOf(best, options);
  if (json) {
    const { cell, similarity, unrolledSteps } = { ...defaults, ...options };
    const question = { bytes, size, spacing: spacing ?? [1, 1, 1], cell, similarity, unrolledSteps, labels };
    console.log(JSON.stringify({ ...question, fits, recommended: best ? { ...best, config } : null }, null, 2));
  } else console.log([...rows(fits, bytes, options, labels), '', ...advice(fits, best, config)].join('\n'));
  return 0;
}

/** What differs from the defaults of deqreg train. */
function configOf(best: Fit, options: GivenTrainOptions): GivenTrainOptions {
  const { stages } = optionsOf(best, options);
  const { channels, dtype, adjoint } = best;
  return { ...options, channels, dtype, adjoint, stages };
}

function rows(fits: readonly Fit[], bytes: number, options: GivenTrainOptions, labels: number): string[] {
  const adjoints = [...new Set(fits.map(({ adjoint }) => adjoint))];
  const lines = fits.filter(({ adjoint }) => adjoint === adjoints[0]);
  const cells = lines.map((line) => [
    `${line.size.join(',')} (${resolutions[line.finest]})`,
    line.dtype,
    ...adjoints.map((adjoint) => {
      const fit = fits.find((other) => other.finest === line.finest && other.dtype === line.dtype && other.adjoint === adjoint)!;
      return fit.fits ? `${fit.channels}: ${mebibytes(fit.bytes)}` : `none (${fit.channels}: ${mebibytes(fit.bytes)})`;
    }),
  ]);
  const all = [['finest level', 'storage', ...adjoints], ...cells];
  const widths = all[0].map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const { cell, similarity, unrolledSteps } = { ...defaults, ...options };
  return [
    `What deqreg train fits into ${mebibytes(bytes)}: the most channels, and the GPU memory of a step on all levels down to the finest.`,
    `Cell ${cell}, similarity ${similarity}, ${labels || 'no'} labels; unrolled and checkpointed with ${unrolledSteps} steps.`,
    '',
    ...all.map((row) => `  ${row.map((text, column) => text.padEnd(widths[column])).join('  ')}`.trimEnd()),
  ];
}

function advice(fits: readonly Fit[], best: Fit | undefined, config: GivenTrainOptions | undefined): string[] {
  if (!best) {
    const least = fits.reduce((a, b) => (b.bytes < a.bytes ? b : a));
    return [
      `Nothing fits. The least of these is ${mebibytes(least.bytes)}: ${least.adjoint}, ${least.channels} channels, ${least.dtype}, ${least.size.join(',')}.`,
    ];
  }
  return [
    `The largest: ${best.size.join(',')}, ${best.channels} channels, ${best.adjoint}, ${best.dtype}, ${mebibytes(best.bytes)}.`,
    ...(best.dtype === 'f16' ? ['It needs an adapter with shader-f16 (deqreg info).'] : []),
    `  deqreg train --data data.json --out run --config ${CONFIG}`,
    `${CONFIG}: ${JSON.stringify(config)}`,
    'Validation registers beside it, on the same levels: deqreg register --dry-run reports its memory.',
  ];
}
