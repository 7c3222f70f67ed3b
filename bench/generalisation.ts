// Does the trained brain update know its training subjects only? The same figures on pairs of them and on pairs with subjects held out.
//   node build.mjs bench generalisation
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openGpu } from '../src/node.ts';
import { brainGroups, dataFolder } from '../test/data.ts';
import { deqreg, show } from './registration.ts';
import { table, writeReport } from './report.ts';

/** Both on the levels that the trained cell has. */
const CLASSICAL = 'equilibrium --refine 0';
const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const variance = (values: number[]): number => values.reduce((sum, x) => sum + (x - mean(values)) ** 2, 0) / (values.length - 1);
const sd = (values: number[]): number => Math.sqrt(variance(values));

export async function main(): Promise<void> {
  const groups = Object.entries(brainGroups()).filter(([, cases]) => cases.length);
  if (!groups.length) throw new Error(`no brains in ${dataFolder}; set DEQREG_DATA to a folder with brain/`);
  const gpu = await openGpu();
  const { info } = gpu;
  gpu.close();
  const out = mkdtempSync(join(tmpdir(), 'deqreg-bench-'));
  const means: { group: string; method: string; dices: number[] }[] = [];
  const rows: string[][] = [];
  try {
    for (const [group, cases] of groups) {
      for (const method of [CLASSICAL.split(' '), ['deq']]) {
        const dices: number[] = [];
        for (const c of cases) {
          const { json } = await deqreg(c, method, out);
          dices.push(json.dice.mean);
          const figures = [json.dice.before, json.dice.mean].map((value) => show(value, 4));
          rows.push([group, c.name, method.join(' '), ...figures, show(json.foldingPercent, 4), show(json.sdLogJ, 3)]);
          console.error(rows.at(-1)!.join(' '));
        }
        means.push({ group, method: method.join(' '), dices });
      }
    }
  } finally {
    rmSync(out, { recursive: true });
  }
  writeReport(
    'generalisation',
    'The trained brain update on subjects it has and has not seen',
    info,
    'node build.mjs bench generalisation',
    [
      ...finding(means),
      'Both on the three levels that the trained cell has; otherwise default options. Dice over 30 structures, mean ± standard deviation over the pairs of a group. Held out: one subject of the pair or both.',
      table(
        ['pairs of', 'method', 'Dice'],
        means.map(({ group, method, dices }) => [group, method, `${show(mean(dices), 4)} ± ${show(sd(dices), 4)}`]),
      ),
      table(['pairs of', 'pair', 'method', 'Dice before', 'Dice', 'folds %', 'SDlogJ'], rows),
    ],
  );
}

/** How the trained update differs from the classical one, which knows no subject, pair by pair: on its own subjects and on others. */
function finding(means: readonly { group: string; method: string; dices: number[] }[]): string[] {
  const groups = [...new Set(means.map(({ group }) => group))];
  if (groups.length !== 2) return [];
  const of = (group: string, method: string) => means.find((m) => m.group === group && m.method === method)!.dices;
  const gains = groups.map((group) => of(group, 'deq').map((dice, i) => dice - of(group, CLASSICAL)[i]!));
  const signed = (x: number) => `${x < 0 ? '−' : '+'}${show(Math.abs(x), 4)}`;
  const told = groups.map(
    (group, i) => `on ${group} ${signed(mean(gains[i]!))} ± ${show(Math.sqrt(variance(gains[i]!) / gains[i]!.length), 4)}`,
  );
  const [own, other] = gains as [number[], number[]];
  const worth = mean(own) - mean(other);
  const error = Math.sqrt(variance(own) / own.length + variance(other) / other.length);
  return [
    `**Dice of the trained update less that of the classical one, which knows no subject, pair by pair: ${told.join(', ')}.** ` +
      `So knowing the subjects is worth ${signed(worth)} ± ${show(error, 4)} Dice (mean ± standard error)${Math.abs(worth) < 2 * error ? ', which these pairs do not tell from nothing' : ''}.`,
  ];
}
