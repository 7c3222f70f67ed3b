// How near each adjoint's gradient is to the true one, against the spectral radius of the cell's Jacobian at the fixed point: small
// nonlinear cells and a registration, whose gain is turned up until plain iteration no longer converges.
import { type Adjoint, type Deq, deq, type DeqOutcome, type DeqProblem, runDeq } from '../src/deq/deq.ts';
import type { Outcome, StopRule } from '../src/deq/solver.ts';
import { spectralRadius, type SpectralRadius, type TracedSpectralRadius, traceSpectralRadius } from '../src/deq/spectral.ts';
import type { Gpu } from '../src/gpu/device.ts';
import { Graph, numel, type Tensor } from '../src/graph/graph.ts';
import { Schedule } from '../src/graph/schedule.ts';
import { similarityJacobians, type SimilarityJacobian } from '../src/models/cell.ts';
import { openGpu } from '../src/node.ts';
import { add, axpby, conv3d, detach, div, gaussian, mse, mul, scale, sqrt, square, tanh } from '../src/ops/index.ts';
import { normalDraw, seededRandom } from '../src/ops/random.ts';
import { factors, traceRegistrationMap } from '../test/registration-map.ts';
import { table, writeReport } from './report.ts';

const adjoints = {
  jfb: { adjoint: 'jfb' },
  'phantom 3': { adjoint: 'phantom', steps: 3, damping: 0.5 },
  'phantom 5': { adjoint: 'phantom', steps: 5, damping: 0.5 },
  implicit: { adjoint: 'implicit' },
} satisfies Record<string, Adjoint>;

/** An adjoint, and how the derivative of the cell's force enters it. */
interface Variant {
  adjoint: keyof typeof adjoints;
  force: SimilarityJacobian;
}
const labelOf = ({ adjoint, force }: Variant) => (force === 'exact' ? adjoint : `${adjoint}, ${force}`);

/** A family of cells with a gain; its inputs are declared by `trace`, and computed on by `phases` before the node runs. */
interface Family {
  name: string;
  note: string;
  gains: readonly number[];
  /** What is compared; jfb and implicit with the exact force, and implicit with the detached one, are among them. */
  variants: readonly Variant[];
  phases: readonly string[];
  trace(
    graph: Graph,
    force: SimilarityJacobian,
  ): Pick<DeqProblem, 'cell' | 'shape' | 'loss' | 'initial'> & { gain: Tensor; weights: Tensor[]; inputs: [Tensor, Float32Array][] };
}

const UNROLLED = 160;
const METHOD = { method: 'anderson', window: 8, ridge: 1e-6 } as const;
const STOP: StopRule = { maxIterations: 250, rtol: 2e-6, atol: 0, patience: 120, divergence: 1e4 };
/** Step of the finite differences, relative to the gain, and the disagreement at which they no longer confirm a gradient. */
const [STEP, CONFIRMED] = [0.01, 0.02];
/** Unrolled counts as converged where what it leaves out, about radius^T, is below this. */
const TAIL = 1e-3;

function field(seed: number, shape: readonly number[], sd: number): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: numel(shape) }, () => sd * normalDraw(random));
}

const exact = (adjoint: Variant['adjoint']): Variant => ({ adjoint, force: 'exact' });
const cut: Variant = { adjoint: 'implicit', force: 'detached' };

const shape = [1, 3, 7, 8, 9];
const kernel = [3, 3, 3, 3, 3];
/** f(z) = gain · (½ tanh(w ∗ z) ± ½ G(z/√(1 + z²))) + x. The second term has no weights: it stands for a similarity's force. */
const convolutional = (name: string, sign: 1 | -1, gains: readonly number[], note: string): Family => ({
  name,
  note: `f(z) = gain · (½ tanh(w ∗ z) ${sign < 0 ? '−' : '+'} ½ G(z/√(1 + z²))) + x, z ${shape.join(' × ')}; the second term is what is detached. ${note}`,
  gains,
  variants: [exact('jfb'), exact('phantom 3'), exact('phantom 5'), exact('implicit'), cut],
  phases: [],
  trace(graph, how) {
    const [gain, w, x, goal] = [graph.input('gain', [1]), graph.input('w', kernel), graph.input('x', shape), graph.input('goal', shape)];
    const force = (z: Tensor) => gaussian(div(z, sqrt(scale(square(z), 1, 1))), 0.8);
    return {
      shape,
      gain,
      weights: [w],
      inputs: [
        [w, field(1, kernel, 1 / 9)],
        [x, field(2, shape, 0.3)],
        [goal, field(3, shape, 0.5)],
      ],
      cell: (z) => add(mul(gain, axpby(0.5, tanh(conv3d(z, w)), sign * 0.5, force(how === 'detached' ? detach(z) : z))), x),
      loss: (y) => mse(y, goal),
    };
  },
});

const families: Family[] = [
  convolutional(
    'A restoring term',
    -1,
    [0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6, 1.8],
    "That term's eigenvalues are negative: past a radius of 1 plain iteration overshoots, while the fixed point stays.",
  ),
  convolutional(
    'A growing term',
    1,
    [0.4, 0.6, 0.8, 0.95, 1.05, 1.1, 1.15, 1.25],
    "That term's eigenvalues are positive: towards a radius of 1 the fixed point branches, and its gradient grows without bound.",
  ),
  {
    name: 'A registration',
    note:
      'f(z) = 0.9 · G(z + gain · w ⊙ step(z)), step the similarity step of the learned cells (LNCC, window 5) on a pair of smooth images, w a field; ' +
      'z 1 × 3 × 12 × 11 × 13, in voxels. What is detached, or found by finite differences, is the derivative of step; jfb needs none. ' +
      'A gain damps the smoothest modes first, then overshoots where the force is stiff, which the radius does not show with the force detached.',
    gains: [0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 1, 2],
    variants: [
      exact('jfb'),
      ...(['phantom 5', 'implicit'] as const).flatMap((adjoint) => similarityJacobians.map((force) => ({ adjoint, force }))),
    ],
    phases: ['images'],
    trace(graph, force) {
      const { w, inputs, ...map } = traceRegistrationMap(graph, force);
      return { ...map, weights: [w], inputs: [...inputs, [w, factors]] };
    },
  },
];

interface Measured extends DeqOutcome {
  loss: number;
  /** For the gain, and for all weights in a row. */
  forGain: number;
  forWeights: Float32Array;
  spectral?: SpectralRadius;
}

/** One adjoint over a family, traced once and run at any gain. */
class Subject {
  private constructor(
    private readonly schedule: Schedule,
    private readonly node: Deq,
    private readonly traced: ReturnType<Family['trace']> & Pick<Family, 'phases'>,
    private readonly spectral?: TracedSpectralRadius,
  ) {}

  static async build(gpu: Gpu, { trace, phases }: Family, adjoint: Adjoint, force: SimilarityJacobian = 'exact'): Promise<Subject> {
    const graph = new Graph();
    const traced = { ...trace(graph, force), phases };
    const node = deq(graph, 'deq', { ...traced, wrt: [traced.gain, ...traced.weights], method: METHOD, adjoint });
    const spectral = node.linearisation && traceSpectralRadius(graph, 'spectral', node.linearisation);
    return new Subject(await Schedule.build(gpu, graph), node, traced, spectral);
  }

  async run(gain: number, radius = false): Promise<Measured> {
    const { schedule, node, traced } = this;
    schedule.upload(traced.gain, Float32Array.of(gain));
    for (const [tensor, data] of traced.inputs) schedule.upload(tensor, data);
    traced.phases.forEach((phase) => schedule.run(phase));
    const outcome = await runDeq(schedule, node, { forward: STOP, backward: STOP });
    const gradients: Float32Array[] = [];
    for (const g of node.gradients) gradients.push(await schedule.read(g));
    const [loss] = await schedule.read(node.loss);
    const spectral = radius && this.spectral ? await spectralRadius(schedule, this.spectral) : undefined;
    return {
      ...outcome,
      loss,
      forGain: gradients[0][0],
      forWeights: Float32Array.from(gradients.slice(1).flatMap((g) => [...g])),
      spectral,
    };
  }

  destroy(): void {
    this.schedule.destroy();
  }
}

const dot = (p: Float32Array, q: Float32Array) => p.reduce((sum, v, i) => sum + v * q[i], 0);
const percent = (x: number) => (x < 0.0995 ? `${(100 * x).toFixed(x < 0.01 ? 2 : 1)} %` : `${(100 * x).toFixed(0)} %`);

const cosineOf = (found: Float32Array, truth: Float32Array) => dot(found, truth) / Math.sqrt(dot(found, found) * dot(truth, truth));

/** Cosine and relative error of a gradient for the weights against the true one. */
function compare(found: Float32Array, truth: Float32Array): string {
  const cosine = cosineOf(found, truth);
  const difference = found.map((v, i) => v - truth[i]);
  return `${cosine.toFixed(4)} (${percent(Math.sqrt(dot(difference, difference) / dot(truth, truth)))})`;
}

/** What one family says in a line, and its tables: gradients against the true ones, and how the solves ended. */
async function gradientTables(gpu: Gpu, family: Family): Promise<{ finding: string; tables: string[] }> {
  const subjects = new Map<string, Subject>();
  for (const variant of family.variants)
    subjects.set(labelOf(variant), await Subject.build(gpu, family, adjoints[variant.adjoint], variant.force));
  const unrolled = await Subject.build(gpu, family, { adjoint: 'unrolled', steps: UNROLLED });
  const implicits = family.variants.filter(({ adjoint }) => adjoint === 'implicit').map(labelOf);
  const rows: string[][] = [];
  const solves: string[][] = [];
  const cosines = new Map([...subjects.keys()].map((label) => [label, [] as { cosine: number; radius: number }[]]));
  const radii: number[] = [];
  for (const gain of family.gains) {
    const found = new Map<string, Measured>();
    for (const [label, subject] of subjects) found.set(label, await subject.run(gain, implicits.includes(label)));
    const [implicit, jfb, detached] = [exact('implicit'), exact('jfb'), cut].map((variant) => found.get(labelOf(variant))!) as [
      Measured,
      Measured,
      Measured,
    ];
    const through = await unrolled.run(gain);
    const [up, down] = [await subjects.get('jfb')!.run(gain * (1 + STEP)), await subjects.get('jfb')!.run(gain * (1 - STEP))];
    const difference = (up.loss - down.loss) / (2 * STEP * gain);
    const off = (g: number) => Math.abs(g / difference - 1);
    const { radius } = implicit.spectral!;
    const truth =
      radius ** UNROLLED < TAIL
        ? { name: 'unrolled', ...through }
        : off(implicit.forGain) < CONFIRMED
          ? { name: 'implicit, by finite differences', ...implicit }
          : undefined;
    const against = (m: Measured) =>
      !truth ? '—' : m.forWeights === truth.forWeights ? 'the reference' : compare(m.forWeights, truth.forWeights);
    if (truth) {
      radii.push(radius);
      for (const [label, m] of found)
        if (m.forWeights !== truth.forWeights) cosines.get(label)!.push({ cosine: cosineOf(m.forWeights, truth.forWeights), radius });
    }
    rows.push([
      radius.toFixed(3),
      truth?.name ?? 'none',
      ...[...found.values()].map(against),
      ...[truth ?? implicit, jfb, detached].map(({ forGain }) => percent(off(forGain))),
    ]);
    const told = ({ result, iterations, relativeResidual }: Outcome) => `${result}, ${iterations}, ${relativeResidual.toExponential(0)}`;
    solves.push([
      gain.toFixed(2),
      told(implicit.forward!),
      ...implicits.flatMap((label) => {
        const { spectral, backward } = found.get(label)!;
        return [told(backward!), `${spectral!.radius.toFixed(3)} (${spectral!.result}, ${spectral!.iterations})`];
      }),
    ]);
  }
  [...subjects.values(), unrolled].forEach((subject) => subject.destroy());
  const least = [...cosines].flatMap(([label, values]) => {
    if (!values.length) return [];
    const reach = Math.max(...values.map(({ radius }) => radius));
    const part = reach < Math.max(...radii) ? ` (to a radius of ${reach.toFixed(3)}; beyond it is the reference)` : '';
    return [`${label} ${Math.min(...values.map(({ cosine }) => cosine)).toFixed(4)}${part}`];
  });
  const finding =
    `- **${family.name}**, radius ${Math.min(...radii).toFixed(3)} … ${Math.max(...radii).toFixed(3)} where there is a true gradient: ` +
    `smallest cosine with it: ${least.join('; ')}.`;
  const tables = [
    `## ${family.name}`,
    family.note,
    table(['radius', 'true gradient', ...subjects.keys(), 'gain: true', 'gain: jfb', 'gain: detached'], rows),
    'How the solves ended (result, evaluations, relative residual), and the power iterations:',
    table(['gain', 'forward', ...implicits.flatMap((label) => [label.replace('implicit', 'backward'), 'radius'])], solves),
  ];
  return { finding, tables };
}

export async function main(): Promise<void> {
  const gpu = await openGpu();
  const told: string[] = [],
    sections: string[] = [];
  for (const family of families) {
    const { finding, tables } = await gradientTables(gpu, family);
    told.push(finding);
    sections.push(...tables);
  }
  writeReport('gradients', "Each adjoint's gradient against the true one", gpu.info, 'node build.mjs bench gradients', [
    told.join('\n'),
    `Radius: max |λ| of ∂f/∂z at the fixed point, by power iteration. Columns of adjoints: cosine (and relative error) of the gradient for all weights ` +
      `against the true one: ${UNROLLED} unrolled steps where radius^${UNROLLED} < ${TAIL}; else the implicit gradient, where central finite differences for the gain ` +
      `confirm it to ${percent(CONFIRMED)}; else none. Columns "gain": how far the gradient for the gain, a scalar, is from finite differences (± ${percent(STEP)} of the gain). ` +
      `Solves: Anderson, window ${METHOD.window}, ridge ${METHOD.ridge}, to a relative residual of ${STOP.rtol}, at most ${STOP.maxIterations} evaluations.`,
    ...sections,
  ]);
}
