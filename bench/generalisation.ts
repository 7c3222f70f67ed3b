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
  const means: string[][] = [],
    rows: string[][] = [];
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
        means.push([group, method.join(' '), `${show(mean(dices), 4)} ± ${show(sd(dices), 4)}`]);
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
      'Default options. Dice over 30 structures, mean ± standard deviation over the pairs of a group.',
      table(['pairs of', 'method', 'Dice'], means),
      table(['pairs of', 'pair', 'method', 'Dice before', 'Dice', 'folds %', 'SDlogJ'], rows),
    ],
  );
}
