// All methods of deqreg, and the peers: each a command that is given two images, and the displacement that it leaves behind.
import { existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Inputs } from '../../src/cli/inputs.ts';
import { classicalMethods, type RegisterOptions, resolveOptions } from '../../src/register/options.ts';
import type { Registration } from '../../src/register/register.ts';
import type { Case } from '../../test/data.ts';
import { ELASTIX, elastixField, elastixVersion, hasElastix, runElastix } from './elastix.ts';
import { readField, type Proof } from './field.ts';
import { hasItkWasm, ITK_WASM, itkWasmField, itkWasmVersion, runItkWasm } from './itk_wasm.ts';
import { command, jsonOf, pythonWithTorch, torchThreads, torchVersion } from './process.ts';

export interface Timed {
  /** Of the whole command. */
  seconds: number;
  /** Largest resident set, MiB; with a software adapter that holds the GPU's memory too. */
  peakMiB?: number;
  /** Memory on the GPU, MiB: of deqreg planned and measured, of PyTorch its allocator's maximum. */
  gpuMiB?: number;
  plannedMiB?: number;
  /** Evaluations of each level, where the method tells them. */
  iterations?: number[];
  /** RMS residual of each level in its voxels. */
  residuals?: number[];
  /** Levels that have a tolerance, without the refinement, and those of them that converged to it. */
  solved?: number;
  converged?: number;
}

export interface Method {
  name: string;
  peer: boolean;
  /** Whether a pair is one that it is made for. */
  fits(c: Case): boolean;
  /** Registers in a process of its own, files into the folder `out`; `share` of the iterations it takes by default. */
  register(c: Case, inputs: Inputs, out: string, share?: number): Promise<Timed>;
  /**
   * What `register` found: [3, D, H, W] in voxels of the fixed grid; of a peer that warps images itself, with the proof that this is it.
   */
  field(c: Case, inputs: Inputs, out: string): Promise<{ u: Float32Array; proof?: Proof }>;
  /** Shares of its iterations at which it is a curve. */
  shares: readonly number[];
  /** Left out of a quick run, and of the runs in turn. */
  slow?: boolean;
  /** How it was run. */
  told: string;
}

/** A peer that this machine lacks, and the command that installs it. */
export interface Missing {
  name: string;
  install: string;
}

export const kindOf = ({ name }: Case): string => /^[a-z]+/.exec(name)![0];

/** `deqreg register`, with labels and landmarks where it is to measure too. */
export async function deqreg(
  c: Case,
  method: readonly string[],
  out: string,
  { measured = true, more = [] as string[] } = {},
): Promise<{ json: any } & Timed> {
  const labels = ['--fixed-seg', c.fixedSeg, '--moving-seg', c.movingSeg, ...(c.labels ? ['--labels', c.labels.join(',')] : [])];
  const finished = await command(process.execPath, [
    'dist/deqreg.js',
    'register',
    ...['--fixed', c.fixed, '--moving', c.moving],
    ...(measured ? [...labels, ...(c.landmarks ? ['--landmarks', c.landmarks] : [])] : []),
    ...['--method', ...method, ...more],
    ...['--out', out, '--json'],
  ]);
  const json = jsonOf(finished);
  const { planned, measured: held } = json.memory;
  const levels: Registration['levels'] = json.solver.levels;
  const solved = levels.filter(({ stage, tolerance }) => !stage && tolerance > 0);
  return {
    json,
    seconds: finished.seconds,
    peakMiB: finished.peakMiB,
    gpuMiB: held.total / 2 ** 20,
    plannedMiB: planned.total / 2 ** 20,
    iterations: levels.map(({ iterations }) => iterations),
    residuals: levels.map(({ residual }) => residual),
    solved: solved.length,
    converged: solved.filter(({ result }) => result === 'converged').length,
  };
}

const REFINE = '3';

const ofBrains = (c: Case): boolean => kindOf(c) === 'brain';
/** What the trained brain update knows of the pairs of brains here (bench/generalisation.ts has more of them). */
const KNOWN = ' Of the brains, subA/subB chose its weights, both subjects of sub01/sub02 were trained on, and of sub03/sub08 one.';

function deqregMethod(
  words: string[],
  shares: readonly number[],
  fits = (c: Case) => words[0] !== 'deq' || kindOf(c) !== 'cardiac',
): Method {
  const [method] = words as [RegisterOptions['method']];
  return {
    name: words.join(' '),
    peer: false,
    shares,
    fits, // the trained updates: what they were trained for
    async register(c, inputs, out, share = 1) {
      const { iterations } = share === 1 ? { iterations: [] } : resolveOptions({ method }, inputs.fixed);
      const less = (iterations as readonly number[]).map((n) => Math.max(1, Math.round(share * n)));
      const { json: _, ...timed } = await deqreg(c, words, out, {
        measured: false,
        more: less.length ? ['--iterations', less.join(',')] : [],
      });
      return timed;
    },
    field: async (_, { fixed }, out) => ({ u: await readField(join(out, 'displacement.nii.gz'), fixed) }),
    told: `\`deqreg register --method ${words.join(' ')}\`, default options${method === 'deq' ? `.${KNOWN}` : ', found on these pairs, one setting for all kinds but for the smoothing, which CT and thick slices have more of; the peers have one for each kind.'}`,
  };
}

export const ownMethods = (): Method[] => [
  ...classicalMethods.map((method) => deqregMethod([method], [0.125, 0.25, 0.5])),
  deqregMethod(['equilibrium', '--refine', '0'], [], ofBrains), // by default brains alone are refined
  deqregMethod(['deq'], []),
  deqregMethod(['deq', '--refine', REFINE], []),
];

const TWIN = 'bench/peers/torch_lncc_adam.py';
/**
 * What suits the twin better than its defaults, which suit the brains: full resolution and smoothness for the lung, smoothness for the
 * heart.
 */
const twinOptions: Record<string, string[]> = {
  lung: '--levels 4,2,1 --iterations 80,60,30 --lam 1'.split(' '),
  cardiac: '--iterations 120,120,100 --lam 2'.split(' '),
};
/** The twin's own default. */
const TWIN_ITERATIONS = '60,60,60';
/** Of the twin where `equilibrium` refines at full resolution: a few steps there too, and the same window. */
const FULL_LEVELS = '8,4,2,1';
const fullOptions = `--levels ${FULL_LEVELS} --iterations ${TWIN_ITERATIONS},4 --window 11`.split(' ');

const twinName = (device: string | undefined, levels = '') =>
  `PyTorch${levels && ` ${levels}`}${device && device !== 'cpu' ? ` (${device})` : ''}`;

/** PyTorch's twin: our own script, or another that takes FIXED MOVING --out FIELD and writes the field in any of the known forms. */
function torchMethod(program: string, script: string, extra: readonly string[] | undefined, device: string | undefined): Method {
  const own = script === TWIN;
  const on = [...(own ? torchThreads() : []), ...(device ? ['--device', device] : [])];
  const optionsFor = (c: Case) => extra ?? (own ? (twinOptions[kindOf(c)] ?? []) : []);
  const field = (out: string) => join(out, 'field.nii');
  return {
    name: own ? twinName(device) : basename(script),
    peer: true,
    shares: own ? [0.125, 0.25, 0.5, 2] : [],
    fits: () => true,
    async register(c, _, out, share = 1) {
      mkdirSync(out, { recursive: true });
      const given = optionsFor(c);
      const whole = given.includes('--iterations') ? given[given.indexOf('--iterations') + 1] : TWIN_ITERATIONS;
      const part = whole.split(',').map((n) => Math.max(1, Math.round(share * Number(n))));
      const less = share === 1 ? [] : ['--iterations', part.join(',')]; // the last one given counts
      const warped = own ? ['--warped', join(out, 'warped.nii')] : [];
      const finished = await command(program, [script, c.fixed, c.moving, '--out', field(out), ...warped, ...given, ...less, ...on]);
      const cuda = own ? jsonOf(finished).maxCudaMiB : undefined;
      return { seconds: finished.seconds, peakMiB: finished.peakMiB, gpuMiB: cuda };
    },
    field: async (_, { fixed }, out) => ({ u: await readField(field(out), fixed) }),
    told: own
      ? `torch ${torchVersion(program)}; LNCC (window 9) and diffusion, Adam on a displacement at every voxel, levels 8, 4 and 2, 60 steps each, λ 0.3: [${basename(script)}](../peers/${basename(script)})${
          extra
            ? `, \`${extra.join(' ')}\``
            : Object.entries(twinOptions)
                .map(([kind, options]) => `; ${kind}: \`${options.join(' ')}\``)
                .join('')
        }. Of the settings tried on these pairs those that were best for it. All cores: \`${torchThreads().join(' ')}\`. Writes field and warped image, uncompressed.`
      : `\`${[basename(script), ...(extra ?? []), ...on].join(' ')}\`.`,
  };
}

/** PyTorch's twin of what `equilibrium` does on brains, which it refines by default. */
const torchAtFullResolution = (program: string, device: string | undefined): Method => ({
  ...torchMethod(program, TWIN, fullOptions, device),
  name: twinName(device, FULL_LEVELS),
  shares: [],
  fits: ofBrains,
  told: `the same on the brains, which equilibrium refines at full resolution, with a few steps there and the window that deqreg has: \`${fullOptions.join(' ')}\`, λ and rate as above.`,
});

/** The twin as smooth as it has to be for next to no folds. */
const torchSmooth = (program: string, device: string | undefined): Method => ({
  ...torchMethod(program, TWIN, ['--lam', '2'], device),
  name: twinName(device, 'λ 2'),
  shares: [],
  slow: true,
  fits: ofBrains,
  told: 'the same on the brains with λ 2, so that its fields fold as little as others do.',
});

export interface PeerOptions {
  /** Another script in the twin's place. */
  script?: string;
  args?: readonly string[];
  device?: string;
}

/** The peers that this machine has, and those that it lacks. */
export function findPeers({ script = TWIN, args, device }: PeerOptions): { peers: Method[]; missing: Missing[] } {
  if (!existsSync(script)) throw new Error(`--script: ${script}: no such file`);
  const peers: Method[] = [],
    missing: Missing[] = [];
  const program = pythonWithTorch();
  if (program) {
    peers.push(torchMethod(program, script, args, device));
    if (script === TWIN && !args) peers.push(torchAtFullResolution(program, device), torchSmooth(program, device));
  } else missing.push({ name: 'PyTorch', install: 'apt-get install python3-torch python3-numpy' });
  const common = { peer: true, fits: () => true, shares: [0.25, 0.5] };
  const files =
    'the parameter files `bench/peers/elastix_*.txt`: B-splines behind an affine transform, which the brains do without; of the settings tried on these pairs those that were best for it';
  if (hasElastix())
    peers.push({
      ...common,
      name: 'elastix',
      register: runElastix,
      field: elastixField,
      told: `\`elastix\` ${elastixVersion()}, all cores, ${files}. Its time is without \`transformix\`, which writes the field afterwards.`,
    });
  else missing.push({ name: 'elastix', install: ELASTIX });
  if (hasItkWasm())
    peers.push({
      ...common,
      name: 'ITK-Wasm elastix',
      shares: [],
      slow: true,
      register: runItkWasm,
      field: itkWasmField,
      told: `npm \`@itk-wasm/elastix\` ${itkWasmVersion()} in Node, one thread, the same parameter files; its field is evaluated from the B-splines that it returns.`,
    });
  else missing.push({ name: 'ITK-Wasm elastix', install: ITK_WASM });
  return { peers, missing };
}
