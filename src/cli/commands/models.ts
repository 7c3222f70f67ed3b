// deqreg models: the trained models that come with this package, or those in files, with their cards.
import { type Options, parse, table } from '../args.ts';
import { type ModelFile, noModels, readModelFile, shippedModels } from '../models.ts';

export const summary = 'list the shipped trained models, or those in files, with their model cards';
export const usage = 'deqreg models [FILE.safetensors …] [--json]';
export const options = { json: { help: 'print everything as JSON' } } satisfies Options;

export async function run(args: string[]): Promise<number> {
  const files: string[] = [];
  const { json } = parse(options, args, files);
  const models = files.length ? await Promise.all(files.map(readModelFile)) : await shippedModels();
  if (json) console.log(JSON.stringify(models.map(record), null, 2));
  else console.log(models.length ? models.map(describe).join('\n\n') : `${noModels[0].toUpperCase()}${noModels.slice(1)}.`);
  return 0;
}

const count = ({ model }: ModelFile) => [...model.values.values()].reduce((sum, { data }) => sum + data.length, 0);

function record(file: ModelFile) {
  const { values, ...model } = file.model;
  return { file: file.path, sha256: file.sha256, ...model, parameters: count(file), card: file.card };
}

function describe(file: ModelFile): string {
  const { path, sha256, card, model } = file;
  const { cell, channels, window, modality, iterations, tolerance } = model;
  return [
    `${card.name}: ${card.summary}`,
    ...table([
      ['file', path],
      ['sha256', sha256],
      ['cell', `${cell}, ${channels} channels, ${count(file)} weights; LNCC window of ${window} voxels`],
      ['for', modality.toUpperCase()],
      ['solved by', `${iterations?.join(', ') ?? 'default'} evaluations at most, to ${tolerance?.join(', ') ?? 'default'} voxels`],
      ['data', card.data],
      ['licence', card.licence],
      ['trained', `${card.steps} steps, seed ${card.seed}, adjoint ${card.adjoint}, ${card.hours} h on ${card.adapter}`],
      ['by', `${card.command} (deqreg ${card.version}, ${card.date})`],
      ...Object.entries(card.validation).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
    ]),
  ].join('\n');
}
