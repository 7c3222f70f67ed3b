// Does the trained brain update know its training subjects only? The same figures on pairs of them and on pairs with subjects held out.
//   node build.mjs bench generalisation
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openGpu } from '../src/node.ts';
import { brainGroups, dataFolder } from '../test/data.ts';
import { deqreg, show } from './registration.ts';
import { table, writeReport } from './report.ts';

const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const sd = (values: number[]): number => Math.sqrt(values.reduce((sum, x) => sum + (x - mean(values)) ** 2, 0) / (values.length - 1));

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
      for (const method of [['equilibrium'], ['deq']]) {
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
      'Default options. Dice over 30 structures, mean ± standard deviation over the pairs of a group.',
      table(
        ['pairs of', 'method', 'Dice'],
        means.map(({ group, method, dices }) => [group, method, `${show(mean(dices), 4)} ± ${show(sd(dices), 4)}`]),
      ),
      table(['pairs of', 'pair', 'method', 'Dice before', 'Dice', 'folds %', 'SDlogJ'], rows),
    ],
  );
}

/** How much worse than the classical update, which knows no subject, the trained one is on held-out subjects than on its own. */
function finding(means: readonly { group: string; method: string; dices: number[] }[]): string[] {
  const groups = [...new Set(means.map(({ group }) => group))];
  if (groups.length !== 2) return [];
  const of = (group: string, method: string) => mean(means.find((m) => m.group === group && m.method === method)!.dices);
  const behind = groups.map((group) => of(group, 'equilibrium') - of(group, 'deq')) as [number, number];
  const than = (d: number) => `${show(Math.abs(d), 4)} ${d < 0 ? 'above' : 'below'}`;
  return [
    `**On ${groups[0]} the trained update's Dice is ${than(behind[0])} the classical one's, which knows no subject; on ${groups[1]} ${than(behind[1])}.** ` +
      `What knowing the subjects is worth: ${show(behind[1] - behind[0], 4)} Dice.`,
  ];
}
