// Anderson acceleration against plain iteration at three dampings, on the classical cell and real images: evaluations of
// the cell to the same residual and to the same similarity. Every solver starts each level from the same field.
import { type Iteration, iterate, type Method, traceIteration } from '../src/deq/solver.ts';
import { Graph, type Tensor } from '../src/graph/graph.ts';
import { Schedule } from '../src/graph/schedule.ts';
import type { Vec3 } from '../src/io/affine.ts';
import type { Volume } from '../src/io/volume.ts';
import { variationalCell } from '../src/models/variational.ts';
import { centre, identity, intensityWindow as windowOp, localStatistics, resize, scale, withGradient } from '../src/ops/index.ts';
import { openGpu, readVolume } from '../src/node.ts';
import { intensityWindow } from '../src/register/intensity.ts';
import { resolveOptions } from '../src/register/options.ts';
import { phantom } from '../src/register/phantom.ts';
import { levelGrid, levelSpacing } from '../src/register/pyramid.ts';
import { realCases } from '../test/data.ts';
import { table, writeReport } from './report.ts';

const EVALUATIONS = 60;
const solvers: [string, Method][] = [
  ['Anderson, m = 5', { method: 'anderson' }],
  ['plain, β = 1', { method: 'picard', damping: 1 }],
  ['plain, β = 0.7', { method: 'picard', damping: 0.7 }],
  ['plain, β = 0.4', { method: 'picard', damping: 0.4 }],
];

interface Curve {
  solver: string;
  residuals: number[];
  similarities: number[];
}

export async function main(): Promise<void> {
  const gpu = await openGpu();
  const real = realCases()[0];
  const [fixed, moving]: Volume[] = real
    ? await Promise.all([readVolume(real.fixed), readVolume(real.moving)])
    : (Object.values(phantom('brain', [80, 96, 112], 1)).slice(0, 2) as Volume[]);
  const options = resolveOptions({}, fixed!);
  const sections: string[] = [],
    told: string[] = [];
  const graph = new Graph();
  const shape = ([w, h, d]: Vec3) => [d, h, w] as const;
  const f = graph.input('fixed', [1, 1, ...shape(fixed!.size)]),
    m = graph.input('moving', [1, 1, ...shape(moving!.size)]);
  const windows = [fixed!, moving!].map((v) => intensityWindow(v.data));
  const levels: { factor: number; runs: [string, Iteration][] }[] = [];
  let start: { u: Tensor; size: Vec3 } | undefined;
  options.levels.forEach((factor, i) => {
    const { size } = levelGrid(fixed!, levelSpacing(fixed!, factor));
    const images = graph.phase(`images ${factor}`, () => {
      const [a, b] = [f, m].map((x, k) => resize(windowOp(x, windows[k]!.low, windows[k]!.high), shape(size)));
      return { fixed: localStatistics(a!, options.window), moving: withGradient(centre(b!)), matrix: identity, ratios: [1, 1, 1] as const };
    });
    const from = start;
    const initial = from && (() => scale(resize(from.u, shape(size)), size[0] / from.size[0]));
    const cell = variationalCell(images, {
      lambda: options.lambda[i]!,
      step: options.step,
      softness: options.softness,
      smoothing: options.smoothing,
    });
    const runs = solvers.map(([name, method]): [string, Iteration] => [
      name,
      traceIteration(graph, `${name} ${factor}`, method, [1, 3, ...shape(size)], cell, initial),
    ]);
    start = { u: runs[0]![1].best, size };
    levels.push({ factor, runs });
  });
  graph.phase('end', () => graph.output(scale(start!.u, 1)));

  const schedule = await Schedule.build(gpu, graph);
  schedule.upload(f, fixed!.data);
  schedule.upload(m, moving!.data);
  for (const { factor, runs } of levels) {
    schedule.run(`images ${factor}`);
    const curves: Curve[] = [];
    for (const [solver, iteration] of runs) {
      const similarities: number[] = [];
      const rule = { maxIterations: EVALUATIONS, rtol: 0, atol: 0, patience: EVALUATIONS };
      const { residuals } = await iterate(schedule, iteration, rule, (step) => similarities.push(step.monitor!));
      curves.push({ solver, residuals, similarities });
    }
    sections.push(`## Level ${factor}`, summary(curves));
    told.push(finding(factor, curves));
  }
  writeReport('solver', 'Anderson acceleration against plain iteration', gpu.info, 'node build.mjs bench solver', [
    told.join('\n'),
    `${real ? real.name : 'the phantom brain'}, default options, ${EVALUATIONS} evaluations a solver and level. Every solver starts a level from Anderson's result on the coarser one. ` +
      'Residual: RMS of f(u) − u in voxels of the level. Similarity: mean LNCC at u.',
    ...sections,
  ]);
}

/** The evaluations to the first value that is good. */
const reached = (values: number[], good: (v: number) => boolean) => {
  const i = values.findIndex(good);
  return i < 0 ? `> ${values.length}` : i + 1;
};

/** To the smallest residual that any plain iteration reaches: its evaluations, and Anderson's. */
function finding(factor: number, [anderson, ...plain]: Curve[]): string {
  const least = (curve: Curve) => Math.min(...curve.residuals);
  const best = plain.reduce((a, b) => (least(b) < least(a) ? b : a));
  const to = (curve: Curve) => reached(curve.residuals, (r) => r <= least(best));
  return (
    `- **Level ${factor}**: the smallest residual of any plain iteration is ${least(best).toFixed(4)} voxel (${best.solver}, ${to(best)} evaluations); ` +
    `Anderson takes ${to(anderson!)} evaluations to it, and comes to ${least(anderson!).toFixed(4)}.`
  );
}

function summary(curves: Curve[]): string {
  const [anderson, ...plain] = curves as [Curve, ...Curve[]];
  const targets = [0.02, 0.01, 0.005, 0.002];
  // The same similarity: all but 1 % of the gain from the start to Anderson's last iterate.
  const last = anderson.similarities[anderson.similarities.length - 1]!,
    first = anderson.similarities[0]!;
  const goal = last - 0.01 * (last - first);
  return table(
    ['solver', ...targets.map((t) => `evaluations to ${t}`), 'smallest residual', `evaluations to LNCC ${goal.toFixed(4)}`, 'last LNCC'],
    [anderson, ...plain].map((c) => [
      c.solver,
      ...targets.map((t) => reached(c.residuals, (r) => r <= t)),
      Math.min(...c.residuals).toFixed(4),
      reached(c.similarities, (s) => s >= goal),
      c.similarities[c.similarities.length - 1]!.toFixed(4),
    ]),
  );
}
