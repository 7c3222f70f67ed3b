// Convergence: residual and similarity against the evaluations of the update, one curve a level, coarse to fine.
import type { Content } from './content.ts';
import { div, element, fixed, section, short, swatch, table } from './dom.ts';
import { COLOURS, plot, type Row } from './plot.ts';

type Levels = Content['report']['solver']['levels'];

const colour = (n: number) => COLOURS[n % COLOURS.length];

/** The section, and what draws the charts in it once it is on the page. */
export function convergence({ solver: { method, levels }, model }: Content['report']): [HTMLElement, () => void] {
  const residuals = div('chart'),
    similarities = div('chart');
  const rows = levels.map((level, n) => [
    swatch(colour(n), named(level)),
    level.size.join(' × '),
    verdict(level),
    `${level.iterations} of ${level.maxIterations}`,
    short(level.residual),
    short(level.tolerance),
    fixed(level.similarities.at(-1), 4),
  ]);
  const made = section(
    'Convergence',
    `Method: ${method}${model ? ` with the model ${model.name}` : ''}. ${
      method === 'adam'
        ? 'The residual is the RMS of a step, in voxels of its level. A level ends at its tolerance, if it has one, or after all its steps; the last field is kept.'
        : 'A level ends when the RMS of f(u) − u, in its own voxels, falls below its tolerance (dashed); the field with the smallest residual is kept. A refinement takes a few evaluations and need not get there.'
    }`,
    table(['Level', 'Grid (i, j, k)', 'Verdict', 'Evaluations', 'Residual (voxel)', 'Tolerance (voxel)', 'LNCC at the end'], rows),
    div('charts', residuals, similarities),
  );
  return [
    made,
    () => {
      const names = levels.map(named);
      const count = levels.reduce((sum, { residuals }) => sum + residuals.length, 0);
      const x = { label: 'evaluations', values: Array.from({ length: count }, (_, n) => n + 1), range: [0, count + 1] as [number, number] };
      const curves = (rows: Row[], as: 'curve' | 'dashed') =>
        spread(levels, rows).map((values, n) => ({ label: as === 'curve' ? names[n] : '', colour: colour(n), values, as }));
      const reached = levels.map((level) => level.residuals);
      const tolerances = levels.map((level) => level.residuals.map(() => level.tolerance || null));
      plot(residuals, {
        title: 'Residual, RMS (voxel)',
        x,
        log: true,
        curves: [...curves(reached, 'curve'), ...curves(tolerances, 'dashed')],
      });
      const similarity = levels.map((level) => level.similarities);
      plot(similarities, { title: 'Similarity (mean LNCC)', x, curves: curves(similarity, 'curve') });
    },
  ];
}

const verdict = ({ result, stage }: Levels[number]) =>
  element('span', { className: result === 'converged' || (stage && result === 'max-iterations') ? '' : 'warning' }, result);

const named = ({ factor, stage }: Levels[number]) => `1/${factor}${stage ? ` ${stage}` : ''}`;

/** Values of each level at their evaluations, which are counted over all levels; null elsewhere. */
function spread(levels: Levels, values: Row[]): Row[] {
  const total = levels.reduce((sum, { residuals }) => sum + residuals.length, 0);
  let from = 0;
  return levels.map(({ residuals }, n) => {
    const row = Array<number | null>(total).fill(null);
    values[n].forEach((value, i) => {
      row[from + i] = value;
    });
    from += residuals.length;
    return row;
  });
}
