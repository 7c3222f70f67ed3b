// elastix' command: what it finds as a displacement in the project's conventions, and the proof of that against what it warps itself.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Inputs } from '../../src/cli/inputs.ts';
import { labelsWarpedBy } from '../../src/cli/metrics.ts';
import { toPhysical } from '../../src/io/displacement.ts';
import { readVolume } from '../../src/io/files.ts';
import { dice } from '../../src/register/metrics.ts';
import type { Case } from '../../test/data.ts';
import { fieldOf, parseParameters } from './elastix_transform.ts';
import { type Proof, readField, warpedDifference } from './field.ts';
import { command, runs, type Finished } from './process.ts';

export const ELASTIX = 'apt-get install elastix';
export const hasElastix = (): boolean => runs('elastix', '--version') && runs('transformix', '--version');
export const elastixVersion = (): string =>
  spawnSync('elastix', ['--version'], { encoding: 'utf8' }).stdout.match(/[\d.]+/)?.[0] ?? 'of an unknown version';

/** The parameter files of a pair, in the order of their transforms: brains are aligned already, the others get an affine one first. */
export function parameterFiles({ name }: Case): string[] {
  const kind = /^[a-z]+/.exec(name)![0];
  return [...(kind === 'brain' ? [] : ['affine']), kind].map((file) => join('bench/peers', `elastix_${file}.txt`));
}

/** The same parameter file with other values, under another path, which it returns. */
function changed(file: string, values: Record<string, string | number>, to: string): string {
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => !Object.keys(values).some((key) => line.startsWith(`(${key} `)));
  writeFileSync(to, [...lines, ...Object.entries(values).map(([key, value]) => `(${key} ${value})`), ''].join('\n'));
  return to;
}

/** A pair's parameter files, with `share` of their iterations. */
export function budgeted(c: Case, out: string, share: number): string[] {
  const files = parameterFiles(c);
  if (share === 1) return files;
  return files.map((file, n) => {
    const iterations = Number(parseParameters(readFileSync(file, 'utf8')).MaximumNumberOfIterations?.[0]);
    return changed(file, { MaximumNumberOfIterations: Math.round(iterations * share) }, join(out, `parameters.${n}.txt`));
  });
}

const threads = () => ['-threads', String(availableParallelism())];
const found = (c: Case, out: string): string[] => parameterFiles(c).map((_, n) => join(out, `TransformParameters.${n}.txt`));

export function runElastix(c: Case, _: Inputs, out: string, share = 1): Promise<Finished> {
  mkdirSync(out, { recursive: true });
  const files = budgeted(c, out, share).flatMap((file) => ['-p', file]);
  return command('elastix', ['-f', c.fixed, '-m', c.moving, ...files, '-out', out, ...threads()]);
}

/** The field that `transformix` writes. */
export async function elastixField(c: Case, inputs: Inputs, out: string): Promise<{ u: Float32Array; proof: Proof }> {
  const transforms = found(c, out),
    last = transforms.at(-1)!;
  await command('transformix', ['-def', 'all', '-tp', last, '-out', out, ...threads()]);
  const u = await readField(join(out, 'deformationField.nii'), inputs.fixed);
  const warped = await readVolume(join(out, `result.${transforms.length - 1}.nii`));
  const chain = transforms.map((file) => parseParameters(readFileSync(file, 'utf8')));
  const proof = {
    image: warpedDifference(warped, u, inputs.fixed, inputs.moving),
    ...(await labelsOf(c, inputs, last, out, u)),
    evaluatedMm: apartMm(fieldOf(chain, inputs.fixed), u, inputs),
  };
  return { u, proof };
}

/** Dice of the moving labels that transformix warps, nearest neighbour, and of those that we do. */
async function labelsOf(c: Case, inputs: Inputs, transform: string, out: string, u: Float32Array) {
  const { segmentation } = inputs;
  if (!segmentation) return {};
  const to = join(out, 'labels');
  mkdirSync(to, { recursive: true });
  const nearest = changed(transform, { FinalBSplineInterpolationOrder: 0 }, join(out, 'nearest.txt'));
  await command('transformix', ['-in', c.movingSeg, '-tp', nearest, '-out', to, ...threads()]);
  const theirs = (await readVolume(join(to, 'result.nii'))).data.map(Math.round);
  const overlap = (warped: Float32Array) => dice(segmentation.fixed.data, warped, segmentation.labels).mean;
  return { theirDice: overlap(theirs), ourDice: overlap(labelsWarpedBy(u, inputs)!) };
}

/** Largest difference of two displacements in voxels, along one axis of space, mm. */
function apartMm(a: Float32Array, b: Float32Array, { fixed }: Inputs): number {
  const difference = toPhysical(
    a.map((value, n) => value - b[n]),
    fixed,
  );
  return difference.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
