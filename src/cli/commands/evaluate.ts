// deqreg evaluate: every pair of a data list registered by every method, and all figures in one table, one file of JSON and one page.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { version } from '../../../package.json';
import type { Gpu } from '../../gpu/device.ts';
import { type DataPair, dataSplits, pairsOf } from '../../io/data-list.ts';
import { frameIn } from '../../io/data-path.ts';
import { readDataList } from '../../io/files.ts';
import { methods, type RegisterOptions, resolveOptions } from '../../register/options.ts';
import { register } from '../../register/register.ts';
import { list, oneOf, type Options, parse, table, text, UsageError, whole } from '../args.ts';
import type { Evaluation } from '../evaluation/content.ts';
import { csvOf, meansOf, mixedRegions, runOf } from '../evaluation/figures.ts';
import { type Done, type Journal, openJournal } from '../evaluation/journal.ts';
import { type Method, methodsOf } from '../evaluation/methods.ts';
import { meansTable, outcomeOf } from '../evaluation/summary.ts';
import { openGpu } from '../gpu.ts';
import { type Inputs, warn } from '../inputs.ts';
import { type ModelFile, readModelFile, shippedModelFor } from '../models.ts';
import type { Report } from '../metrics.ts';
import { checkFolder, withOutputs } from '../outputs.ts';
import { type RunsReporter, runsReporter } from '../progress.ts';
import { readInputs, readMasked } from '../read-inputs.ts';
import { evaluationPage } from '../report/evaluation.ts';
import { commandLine } from '../report/html.ts';
import { deliver, FILES as OF_A_RUN, MARK } from '../results.ts';
import { options as ofRegister, requestedOptions } from './register.ts';

const { refine, levels, iterations, tolerance, lambda, window, affine, modality, labels } = ofRegister;

const FILES = ['evaluation.csv', 'evaluation.json', 'evaluation.html'];

export const summary = 'register every pair of a data list by several methods, and compare';
export const usage = 'deqreg evaluate --data FILE --out DIR [--method M,M,…] [options]';
export const options = {
  data: { value: 'FILE', parse: text, required: true, help: "data list, JSON in the form of Learn2Reg's dataset files: see the README" },
  method: { value: 'M,M,…', parse: list(text), help: `of ${methods.join(', ')} (default equilibrium)` },
  out: { value: 'DIR', parse: text, required: true, help: 'folder for evaluation.csv, evaluation.json, evaluation.html' },
  split: { value: dataSplits.join('|'), parse: oneOf(...dataSplits), help: 'which pairs (default validation)' },
  limit: { value: 'N', parse: whole, help: 'only the first N pairs' },
  keep: { help: 'also keep what register writes of each run, but the report, in DIR/pair/method' },
  resume: {
    help: 'go on with an evaluation in DIR, interrupted, with failures, or for more pairs and methods: what was done with the same options and files is kept',
  },
  model: {
    value: 'FILE,…',
    parse: list(text),
    help: 'trained models, each a method deq of its own (default: the shipped one for the modality)',
  },
  refine,
  levels,
  iterations,
  tolerance,
  lambda,
  window,
  affine,
  modality: { ...modality, help: `${modality.help}; before that, what the data list says` },
  labels: { ...labels, help: 'labels that count (default: those of the data list, else all that are in both maps, but 0)' },
  quiet: { help: 'print nothing but errors' },
  json: { help: 'print evaluation.json instead of the summary' },
} satisfies Options;

export async function run(args: string[]): Promise<number> {
  const given = parse(options, args);
  const { data: path, out, split = 'validation', limit, keep, resume, quiet, json } = given;
  if (limit !== undefined && limit < 1) throw new UsageError(`--limit: must be above 0, got ${limit}`);
  const data = await readDataList(path);
  const pairs = pairsOf(data, split).slice(0, limit);
  const { method: _, ...shared } = requestedOptions({ ...given, method: undefined, modality: given.modality ?? data.modality });
  const names = given.method ?? ['equilibrium'];
  if (given.model !== undefined && !names.includes('deq')) throw new UsageError('--model does not apply without --method deq');
  const compared = methodsOf(names, shared, names.includes('deq') ? await modelsFor(given.model, pairs, shared.modality) : []);
  compared.forEach(checkOptions);

  const kept = keep ? foldersOf(out, pairs, compared) : undefined;
  checkFolder(out, FILES, { data: path }, { file: 'evaluation.json', holds: ['runs', 'version'] });

  const labels = given.labels ?? data.labels;
  const jobs = { pairs, methods: compared, labels, affine: shared.affine, kept };
  const evaluation = await withOutputs(out, async (write) => {
    const journal = openJournal(out, resume);
    const progress = runsReporter(quiet, pairs.length * compared.length);
    const { runs, adapter } = await runAll(jobs, journal, progress).finally(progress.clear);
    const all: Evaluation<Done> = {
      command: commandLine('evaluate', args),
      made: new Date().toISOString(),
      version,
      adapter,
      data: { path, name: data.name, split, pairs: pairs.length },
      methods: compared.map(({ name, told }) => ({ name, options: told })),
      means: compared.map(({ name }) => meansOf(runs, name)),
      runs,
    };
    await write('evaluation.csv', csvOf(runs));
    await write('evaluation.json', `${JSON.stringify(all, null, 2)}\n`);
    await write('evaluation.html', evaluationPage({ ...all, runs: runs.map(({ metrics, ...run }) => run) }));
    return { ...all, finish: journal.end };
  });
  const { finish, ...told } = evaluation;
  const failed = told.runs.filter(({ error }) => error !== undefined).length;
  if (!failed) finish();
  const mixed = mixedRegions(told.runs);
  if (mixed && !quiet) warn([mixed]);
  if (json) console.log(JSON.stringify(told, null, 2));
  else if (!quiet) console.log([...meansTable(told.means), ...table([['files', `${FILES.join(', ')} in ${out}`]])].join('\n'));
  if (failed) console.error(`deqreg: ${failed} of ${told.runs.length} runs failed; --resume tries them again`);
  return failed ? 1 : 0;
}

/** The models of these files, or else the shipped one for the first fixed image that can be read; errors of the others go to their rows. */
async function modelsFor(
  files: string[] | undefined,
  pairs: readonly DataPair[],
  modality: RegisterOptions['modality'],
): Promise<ModelFile[]> {
  if (files) return Promise.all(files.map(readModelFile));
  let first: unknown;
  for (const { fixed, fixedMask } of pairs) {
    const image = await readMasked(fixed, fixedMask).catch((error) => void (first ??= error));
    if (image) return [await shippedModelFor(image, modality)];
  }
  throw first;
}

/** Refuses options that no volume can be registered with; what a single one cannot goes to its row. */
function checkOptions({ options }: Method): void {
  try {
    resolveOptions(options, { size: [256, 256, 256], affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] });
  } catch (error) {
    throw new UsageError(`--${(error as Error).message}`); // its messages begin with the option's name
  }
}

interface Jobs {
  pairs: readonly DataPair[];
  methods: readonly Method[];
  labels?: readonly number[];
  affine?: Method['options']['affine'];
  /** The folders in which the results of a pair by a method are kept, where they are. */
  kept?: (pair: DataPair, method: Method) => string;
}

/**
 * A folder for each pair in `out`, and in it one for each method. Throws where two would share one, or what is there is of something else.
 */
function foldersOf(out: string, pairs: readonly DataPair[], methods: readonly Method[]): NonNullable<Jobs['kept']> {
  const plain = (name: string) => name.replace(/[^\p{L}\p{N}._-]+/gu, '_').replace(/^\.+/, '_');
  const folder = (pair: DataPair, method: Method) => join(out, plain(pair.name), plain(method.name));
  pairs.forEach((pair, n) => {
    const same = pairs.slice(0, n).find(({ name }) => plain(name) === plain(pair.name));
    if (same)
      throw new UsageError(
        `--keep: the pairs ${same.name} and ${pair.name} would share the folder ${plain(pair.name)}; name one otherwise`,
      );
    for (const method of methods) checkFolder(folder(pair, method), OF_A_RUN, { ...pathsOf(pair) }, MARK);
  });
  return folder;
}

/** Pair by pair, each by all methods, so that its volumes are read once. */
async function runAll({ pairs, methods, labels, affine, kept }: Jobs, journal: Journal, progress: RunsReporter) {
  let gpu = await openGpu();
  try {
    const { info: adapter } = gpu;
    const runs: Done[] = [];
    for (const pair of pairs) {
      let inputs: Promise<Inputs> | undefined;
      let read = 0; // s
      for (const method of methods) {
        const { name, options, told } = method;
        const key = JSON.stringify({ pair, files: versionsOf(pair), told, labels, version, ...(kept && { kept: true }) });
        const before = journal.find(key);
        if (before) {
          runs.push(before);
          continue;
        }
        progress.begin(`${pair.name}, ${name}`, runs.length);
        let done: Done;
        try {
          if (!inputs) {
            inputs = timed(
              () => readInputs(pathsOf(pair), pair.fixedLabel === undefined ? undefined : labels, affine),
              (s) => (read = s),
            );
            progress.warn((await inputs).warnings);
          }
          const label = `${pair.name}, ${name}`;
          const metrics = await registerPair(gpu, await inputs, options, { read, progress, label, folder: kept?.(pair, method) });
          done = { ...runOf(pair.name, name, metrics), metrics };
        } catch (error) {
          done = { pair: pair.name, method: name, error: (error as Error).message.trim().replace(/\s*\n\s*/g, ' ') };
          gpu = await working(gpu);
        }
        journal.add(key, done);
        runs.push(done);
        progress.end(outcomeOf(done));
      }
    }
    return { runs, adapter };
  } finally {
    gpu.close();
  }
}

/** The GPU, or another one where it was lost: its errors would be thrown by all that comes after. */
async function working(gpu: Gpu): Promise<Gpu> {
  try {
    gpu.check();
    return gpu;
  } catch {
    gpu.close();
    return openGpu();
  }
}

async function registerPair(
  gpu: Gpu,
  inputs: Inputs,
  options: Method['options'],
  { read, progress, label, folder }: { read: number; progress: RunsReporter; label: string; folder?: string },
): Promise<Report> {
  const how = {
    started: performance.now() - 1e3 * read,
    before: { read, prepare: 0 },
    warn: (lines: readonly string[]) => progress.warn(lines.map((line) => `${label}: ${line}`)),
  };
  const registration = await register(gpu, inputs.fixed, inputs.moving, { ...options, initial: inputs.initial }, progress.show);
  if (!folder) return deliver(gpu, inputs, registration, how);
  return withOutputs(folder, (write) => deliver(gpu, inputs, registration, { ...how, write }), OF_A_RUN);
}

/** What of a pair's files tells whether they are still the same: size and time. */
const versionsOf = (pair: DataPair): string[] =>
  Object.values(pathsOf(pair)).flatMap((path) => {
    const found = path === undefined ? undefined : statSync(frameIn(path).file, { throwIfNoEntry: false });
    return found ? [`${found.size} ${found.mtimeMs}`] : [];
  });

async function timed<T>(work: () => Promise<T>, tell: (seconds: number) => void): Promise<T> {
  const started = performance.now();
  const result = await work();
  tell((performance.now() - started) / 1e3);
  return result;
}

const pathsOf = ({ fixed, moving, fixedMask, movingMask, fixedLabel, movingLabel, landmarks, initial }: DataPair) => ({
  fixed,
  moving,
  fixedMask,
  movingMask,
  fixedSeg: fixedLabel,
  movingSeg: movingLabel,
  landmarks,
  initial,
});
