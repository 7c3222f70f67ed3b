// Does the trained brain update know its training subjects only? The same figures on pairs of them and on pairs with subjects held out.
//   node build.mjs bench generalisation
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeModel, Graph, openGpu, readModel } from '../src/node.ts';
import { cells } from '../src/models/cells.ts';
import { brainGroups, dataFolder } from '../test/data.ts';
import { deqreg, show } from './registration.ts';
import { table, writeReport } from './report.ts';

/** On the levels that the trained cell has. */
const CLASSICAL = 'equilibrium --refine 0';
const UNTRAINED = 'deq, untrained';
const TRAINED = 'deq';
const MODEL = 'weights/brain-mri.safetensors';
/** As training begins: the similarity's own step, to which the network adds next to nothing. */
const SEED = 1;
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
  const { model, card } = await readModel(MODEL);
  const untrained = join(out, 'untrained.safetensors');
  const { parameters } = cells[model.cell](new Graph(), { channels: model.channels, similarity: 'exact' });
  writeFileSync(untrained, encodeModel({ ...model, values: parameters.initial(SEED) }, { ...card, name: UNTRAINED }));
  const means: { group: string; method: string; dices: number[] }[] = [];
  const rows: string[][] = [];
  try {
    for (const [group, cases] of groups) {
      for (const method of [CLASSICAL, UNTRAINED, TRAINED]) {
        const words = method === UNTRAINED ? ['deq', '--model', untrained] : method.split(' ');
        const dices: number[] = [];
        for (const c of cases) {
          const { json } = await deqreg(c, words, out);
          dices.push(json.dice.mean);
          const figures = [json.dice.before, json.dice.mean].map((value) => show(value, 4));
          rows.push([group, c.name, method, ...figures, show(json.foldingPercent, 4), show(json.sdLogJ, 3)]);
          console.error(rows.at(-1)!.join(' '));
        }
        means.push({ group, method, dices });
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
      `All on the three levels that the trained cell has; otherwise default options. Untrained: the same cell and settings with the weights that training began with (seed ${SEED}). Dice over 30 structures, mean ± standard deviation over the pairs of a group. Held out: one subject of the pair or both; subA/subB chose the weights among those of the training’s steps. Pairs share subjects, which the standard errors do not know.`,
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
  const signed = (x: number) => `${x < 0 ? '−' : '+'}${show(Math.abs(x), 4)}`;
  const against = (baseline: string) => groups.map((group) => of(group, TRAINED).map((dice, i) => dice - of(group, baseline)[i]));
  const tell = (gains: number[][]) =>
    groups
      .map((group, i) => `on ${group} ${signed(mean(gains[i]))} ± ${show(Math.sqrt(variance(gains[i]) / gains[i].length), 4)}`)
      .join(', ');
  const gains = against(UNTRAINED);
  const [own, other] = gains as [number[], number[]];
  const worth = mean(own) - mean(other);
  const error = Math.sqrt(variance(own) / own.length + variance(other) / other.length);
  return [
    `**What training changes, Dice of the trained cell less that of the untrained one, pair by pair: ${tell(gains)}.** ` +
      `So knowing the subjects is worth ${signed(worth)} ± ${show(error, 4)} Dice (mean ± standard error)${Math.abs(worth) < 2 * error ? ', which these pairs do not tell from nothing' : ''}.`,
    `Less that of the classical update: ${tell(against(CLASSICAL))}.`,
  ];
}
