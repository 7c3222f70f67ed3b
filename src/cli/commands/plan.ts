// deqreg plan: the exact GPU memory of one training step, without a GPU.
import { mebibytes } from '../../gpu/device.ts';
import { tags } from '../../gpu/ledger.ts';
import { plan } from '../../graph/plan.ts';
import { type Options, parse, table, UsageError } from '../args.ts';
import { fitOptions, whatFits } from '../fit.ts';
import { training, trainingOptions } from '../training.ts';

export const summary = 'tell the exact GPU memory that a training step needs, without a GPU';
export const usage = 'deqreg plan --train --size W,H,D [options]   |   deqreg plan --train --size W,H,D --memory 8GiB [options]';
export const options = {
  train: { help: 'plan a training step; needed, because nothing else is planned here (for a registration: deqreg register --dry-run)' },
  ...fitOptions,
  ...trainingOptions,
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const { train, memory, labels, spacing, ...given } = parse(options, args);
  if (!train)
    throw new UsageError(
      '--train is missing: only training is planned here; deqreg register --dry-run reports the memory of a registration',
    );
  if (memory !== undefined) return whatFits(memory, given, { labels, spacing });
  for (const [name, value] of Object.entries({ labels, spacing }))
    if (value !== undefined) throw new UsageError(`--${name} applies to --memory`);
  const { settings, traced } = training(given, 8);
  const { total, byTag } = plan(traced.graph).peak;
  if (given.json) console.log(JSON.stringify({ ...settings, peakBytes: total, byTag }, null, 2));
  else {
    const rows = [...tags.filter((tag) => byTag[tag]).map((tag) => [tag, byTag[tag]] as const), ['total', total] as const];
    console.log(
      [
        'GPU memory this training step needs:',
        ...table(rows.map(([name, bytes]) => [name, `${mebibytes(bytes).padStart(9)}  ${bytes} bytes`])),
      ].join('\n'),
    );
  }
  return 0;
}
