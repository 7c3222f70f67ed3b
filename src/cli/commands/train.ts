// deqreg train: a data list in, a trained model out; a log, curves and checkpoints on the way.
import { appendFileSync, existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { version } from '../../../package.json';
import { adjoints } from '../../deq/problem.ts';
import { adapterName, mebibytes } from '../../gpu/device.ts';
import { readBytes, readDataList, writeAtomic } from '../../io/files.ts';
import { similarityJacobians } from '../../models/cell.ts';
import { cells, type Model } from '../../models/cells.ts';
import { encodeModel } from '../../register/model.ts';
import { type Checkpoint, encodeCheckpoint, parseCheckpoint, valuesOf } from '../../train/checkpoint.ts';
import { defaults, type GivenTrainOptions, modelOf, resolveTrainOptions, totalSteps, type TrainOptions } from '../../train/options.ts';
import { Diverged, type StepRecord, train } from '../../train/train.ts';
import { validatePairs } from '../../train/validate.ts';
import { oneOf, type Options, parse, text, UsageError, whole } from '../args.ts';
import { openGpu } from '../gpu.ts';
import { commandLine } from '../report/html.ts';
import { type Rollback, trainingPage } from '../report/training.ts';
import { STOPPED, stopOnSignals } from '../stop-signals.ts';
import { trainProgress } from '../train-progress.ts';
import { warn } from '../inputs.ts';
import { makeFolder } from '../outputs.ts';
import { demoData, readTrainingData, type TrainingData } from '../training-data.ts';

export const summary = 'train a learned update on a data list, or on synthetic brains';
export const usage = 'deqreg train --data data.json --out DIR [options]   |   deqreg train --demo --out DIR';
export const options = {
  data: { value: 'FILE', parse: text, help: 'data list (JSON): images to train on, pairs to validate with' },
  demo: { help: 'train on synthetic brains instead: under 3 minutes on two cores' },
  out: {
    value: 'DIR',
    parse: text,
    help: 'folder for model.safetensors, checkpoint.safetensors, log.jsonl, training.html',
  },
  resume: { help: 'go on from the checkpoint in --out; give the other options as before' },
  config: { value: 'FILE', parse: text, help: 'JSON with any of the settings that --show prints; options here override it' },
  show: { help: 'print the settings as JSON, and stop' },
  cell: {
    value: Object.keys(cells).join('|'),
    parse: oneOf(...Object.keys(cells)),
    help: `the update that is trained (default ${defaults.cell})`,
  },
  channels: { value: 'N', parse: whole, help: `width of the cell at full resolution (default ${defaults.channels})` },
  adjoint: {
    value: adjoints.join('|'),
    parse: oneOf(...adjoints),
    help: `how gradients pass the fixed point (default ${defaults.adjoint})`,
  },
  'unrolled-steps': { value: 'T', parse: whole, help: `steps of unrolled and checkpointed (default ${defaults.unrolledSteps})` },
  similarity: {
    value: similarityJacobians.join('|'),
    parse: oneOf(...similarityJacobians),
    help: `what of the similarity force's Jacobian the gradient sees (default ${defaults.similarity})`,
  },
  seed: { value: 'N', parse: whole, help: `other weights, pairs and augmentations for another number (default ${defaults.seed})` },
  name: { value: 'NAME', parse: text, help: "the model's name (default: the data list's)" },
  quiet: { help: 'print nothing but errors' },
} satisfies Options;

/** The demonstration's settings: small and short. */
const DEMO: GivenTrainOptions = {
  stages: [
    { levels: [8, 4], steps: 30 },
    { levels: [8, 4, 2], steps: 20 },
  ],
  window: 7,
  loss: { diffusion: 0.5, dice: 1 },
  rate: 5e-3,
  warmUp: 5,
  averaging: 0.9,
  solver: { minIterations: 8, maxIterations: 16, tolerance: 0.01 },
  register: { tolerance: [0.01, 0.01, 0.02] },
  validateEvery: 10,
  checkpointEvery: 10,
};

const CHECKPOINT = 'checkpoint.safetensors',
  LOG = 'log.jsonl',
  MODEL = 'model.safetensors',
  PAGE = 'training.html';

export async function run(args: string[]): Promise<number> {
  const given = parse(options, args);
  const { data, demo, out, resume, name, quiet } = given;
  const settings = await settingsOf(given);
  if (given.show) {
    console.log(JSON.stringify(settings, null, 2));
    return 0;
  }
  if (out === undefined) throw new UsageError('--out DIR is missing');
  if (!data === !demo) throw new UsageError(data ? '--data and --demo exclude each other' : '--data FILE is missing (or --demo)');
  const path = (file: string) => join(out, file);
  if (!resume && existsSync(path(CHECKPOINT)))
    throw new UsageError(
      `--out: ${path(CHECKPOINT)} is the checkpoint of another run; go on with it by --resume, or choose another folder`,
    );
  const others = resume ? [] : [LOG, MODEL, PAGE].filter((file) => existsSync(path(file)));
  if (others.length) throw new UsageError(`--out: ${out} has ${others.join(', ')}, which this run would replace; choose another folder`);
  if (resume && !existsSync(path(CHECKPOINT))) throw new UsageError(`--resume: there is no ${path(CHECKPOINT)}`);
  const from = resume ? parseCheckpoint(path(CHECKPOINT), await readBytes(path(CHECKPOINT))) : undefined;

  const progress = trainProgress(quiet, settings.stages, from?.step ?? 0);
  const asked = stopOnSignals(progress);
  const list = data === undefined ? undefined : await readDataList(data);
  const gpu = await openGpu();
  let kept = from;
  try {
    const finest = Math.min(...settings.stages.map(({ levels }) => levels.at(-1)!));
    const warning = (lines: readonly string[]) => quiet || warn(lines);
    const trained = list ? await readTrainingData(list, gpu, finest, progress.note, warning) : await demoData(gpu, finest);
    await makeFolder(out); // not before all images could be read
    const { records, events } = await readLog(path(LOG), from?.step ?? 0);
    await writeAtomic(path(LOG), [...records, ...events].map((line) => `${JSON.stringify(line)}\n`).join(''));
    const append = (line: object) => appendFileSync(path(LOG), `${JSON.stringify(line)}\n`);
    const modelWith = (values: Model['values'], levels?: readonly number[]) => modelOf(settings, trained.modality, values, levels);
    const describe = (checkpoint: Checkpoint) => cardOf(trained, settings, checkpoint, adapterName(gpu.info), name, command(args));
    const writeAll = async (checkpoint: Checkpoint) => {
      await writeAtomic(path(CHECKPOINT), encodeCheckpoint(checkpoint), { durable: true });
      const values = checkpoint.best?.values ?? valuesOf(checkpoint.tensors, 'average');
      await writeAtomic(path(MODEL), encodeModel(modelWith(values), describe(checkpoint)));
      await writeAtomic(
        path(PAGE),
        trainingPage({
          title: `deqreg train: ${name ?? trained.told.name}`,
          command: command(args),
          records,
          events,
          facts: factsOf(trained, settings, checkpoint, adapterName(gpu.info), gpu.ledger.live.total),
        }),
      );
    };
    kept = await train(
      gpu,
      trained.set,
      trained.labels,
      settings,
      {
        onStep(record) {
          records.push(record);
          append(record);
          progress.step(record);
        },
        onRollback(event) {
          const line = { event: 'rollback' as const, ...event };
          events.push(line);
          append(line);
          progress.rollback(line);
          takeBack(records, event.to + 1);
        },
        async onCheckpoint(checkpoint) {
          await writeAll(checkpoint);
          kept = checkpoint;
        },
        validate: trained.validation.length
          ? (values, levels) => validatePairs(gpu, modelWith(values, levels), trained.validation, levels)
          : undefined,
        stop: () => asked() !== undefined,
      },
      from,
    );
    progress.end();
    const signal = asked();
    if (signal && kept.step < totalSteps(settings)) {
      console.error(`stopped after step ${kept.step} of ${totalSteps(settings)}; the same command with --resume goes on`);
      return STOPPED[signal];
    }
    if (!quiet) console.log(told(kept, path(MODEL), path(PAGE)));
    return 0;
  } catch (error) {
    progress.end();
    const { message } = error as Error;
    if (error instanceof Diverged)
      throw new Error(kept ? `${message}, and another --out; ${path(MODEL)} has the best weights until then` : message);
    throw new Error(kept ? `${message}; the checkpoint of step ${kept.step} is in ${out}, --resume goes on from there` : message);
  } finally {
    gpu.close();
  }
}

/** The settings of --config, the demonstration or the defaults, with the command's own options over them. */
async function settingsOf(given: ReturnType<typeof parse<typeof options>>): Promise<TrainOptions> {
  const { config, demo, cell, channels, adjoint, similarity, seed, 'unrolled-steps': unrolledSteps } = given;
  const over = Object.entries({ cell, channels, adjoint, similarity, seed, unrolledSteps }).filter(([, value]) => value !== undefined);
  let file = {};
  if (config) {
    try {
      file = JSON.parse(await readFile(config, 'utf8'));
    } catch (error) {
      throw new UsageError(`--config: ${config}: ${(error as Error).message}`);
    }
  }
  try {
    return resolveTrainOptions({ ...(demo ? DEMO : {}), ...file, ...Object.fromEntries(over) });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Removes the records from a step on. */
function takeBack(records: StepRecord[], from: number): void {
  while (records.length && records.at(-1)!.step >= from) records.pop();
}

/** The log's lines up to a step. The last line of a killed run may be cut off. */
async function readLog(path: string, last: number): Promise<{ records: StepRecord[]; events: Rollback[] }> {
  const log = { records: [] as StepRecord[], events: [] as Rollback[] };
  if (!last || !existsSync(path)) return log;
  for (const text of (await readFile(path, 'utf8')).split('\n')) {
    let line: StepRecord | Rollback;
    try {
      line = JSON.parse(text);
    } catch {
      continue;
    }
    if ('event' in line) log.events.push(line);
    else if (line.step <= last) {
      takeBack(log.records, line.step); // it comes again after a rollback
      log.records.push(line);
    }
  }
  return log;
}

const command = (args: readonly string[]) =>
  commandLine(
    'train',
    args.filter((word) => word !== '--resume'),
  );

function cardOf(
  { told, modality }: TrainingData,
  settings: TrainOptions,
  { step, hours, best }: Checkpoint,
  adapter: string,
  name: string | undefined,
  command: string,
) {
  const { seed, adjoint, unrolledSteps, solver, stages } = settings;
  const chosen = Object.entries(settings).filter(
    ([key, value]) => JSON.stringify(value) !== JSON.stringify(defaults[key as keyof TrainOptions]),
  );
  const levels = stages.map((stage) => `${stage.steps} steps at 1/${stage.levels.join(', 1/')}`).join('; ');
  const unrolled = adjoint === 'unrolled' || adjoint === 'checkpointed';
  return {
    name: name ?? told.name,
    summary: `${modality === 'ct' ? 'CT' : 'MRI'} registration, trained on ${told.data}`,
    data: told.data,
    licence: told.licence,
    command: `${command} (${[levels, ...(chosen.length ? [`settings ${JSON.stringify(Object.fromEntries(chosen))}`] : [])].join('; ')})`,
    seed,
    steps: best?.step ?? step,
    adjoint: unrolled ? `${adjoint}, ${unrolledSteps} steps` : adjoint,
    evaluations: unrolled ? unrolledSteps : solver.maxIterations,
    adapter,
    hours: Number(hours.toFixed(2)),
    date: new Date().toISOString(),
    version,
    validation: best ? { levels: best.levels, ...best.figures } : {},
  };
}

function factsOf(
  { told, validation, modality }: TrainingData,
  settings: TrainOptions,
  { step, hours, best }: Checkpoint,
  adapter: string,
  bytes: number,
): [string, string][] {
  return [
    ['Steps', `${step} of ${totalSteps(settings)}`],
    ['Time', `${(hours * 60).toFixed(1)} min`],
    ['Adapter', adapter],
    ['GPU memory', mebibytes(bytes)],
    ['Data', `${told.data}; ${validation.length} validation pair${validation.length === 1 ? '' : 's'}; ${modality}`],
    ['Cell', `${settings.cell}, ${settings.channels} channels, LNCC window ${settings.window}`],
    ['Gradient', `${settings.adjoint}, similarity ${settings.similarity}`],
    [
      'Best',
      best
        ? `step ${best.step}, levels ${best.levels}: ${Object.entries(best.figures)
            .map(([key, value]) => `${key} ${value.toPrecision(4)}`)
            .join(', ')}`
        : 'not validated',
    ],
  ];
}

function told({ step, hours, best }: Checkpoint, model: string, page: string): string {
  const figures = best && Object.entries(best.figures).map(([name, value]) => `${name} ${value.toPrecision(4)}`);
  return [
    `${step} steps in ${(hours * 60).toFixed(1)} min`,
    ...(figures ? [`best at step ${best.step}, levels ${best.levels}: ${figures.join(', ')}`] : []),
    `model: ${model}`,
    `curves: ${page}`,
  ].join('\n');
}
