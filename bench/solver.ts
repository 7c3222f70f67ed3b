// Anderson acceleration against plain iteration at three dampings, on the classical cell and real images of every kind: evaluations of the
// cell to the same residual and to the same similarity, and whether the iterates rest. Every solver starts each level from the same field.
import { andersonOptions, type Iteration, iterate, type Method, traceIteration } from '../src/deq/solver.ts';
import { Graph, type Tensor } from '../src/graph/graph.ts';
import { Schedule } from '../src/graph/schedule.ts';
import type { Volume } from '../src/io/volume.ts';
import { variationalCell } from '../src/models/variational.ts';
import { applyWindow, centre, localStatistics, resize, scale, withGradient } from '../src/ops/index.ts';
import { type Gpu, openGpu, readVolume } from '../src/node.ts';
import { intensityWindow } from '../src/register/intensity.ts';
import { resolveOptions } from '../src/register/options.ts';
import { phantom } from '../src/register/phantom.ts';
import { type Level, levelGrid, levelSpacing, matrixBetween, resizeDisplacement, shapeOf, spacingRatios } from '../src/register/pyramid.ts';
import { SOLVER } from '../src/register/trace.ts';
import { realCases } from '../test/data.ts';
import { kindOf } from './peers/methods.ts';
import { median } from './peers/report.ts';
import { table, writeReport } from './report.ts';

const EVALUATIONS = 200;
/** Of the last ones: at rest, their residuals are about the smallest. */
const LAST = 20;
const { window: WINDOW, beta: BETA } = andersonOptions(SOLVER);
const solvers: [string, Method][] = [
  [`Anderson, β = ${BETA}`, SOLVER],
  ['Anderson, β = 1', { method: 'anderson' }],
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
  const sections: string[] = [],
    told: string[] = [],
    all: Curve[][] = [];
  for (const { name, fixed, moving } of await pairs()) {
    sections.push(`## ${name}`);
    for (const { factor, curves } of await solve(gpu, fixed, moving)) {
      sections.push(`### Level ${factor}`, summary(curves));
      told.push(finding(`${name}, level ${factor}`, curves));
      all.push(curves);
    }
  }
  writeReport('solver', 'Anderson acceleration against plain iteration', gpu.info, 'node build.mjs bench solver', [
    damping(all),
    told.join('\n'),
    `λ, window and step as by default, ${EVALUATIONS} evaluations a solver and level; window of Anderson ${WINDOW}. Every solver starts a level from the result of Anderson with β = ${BETA}, ` +
      `which is the one that registrations use, on the coarser one. Residual: RMS of f(u) − u in voxels of the level; in the end: the median of the last ${LAST}. Similarity: mean LNCC at u.`,
    ...sections,
  ]);
}

/** The first real pair of each kind, and all hearts, which are small and the hardest; or a phantom. */
async function pairs(): Promise<{ name: string; fixed: Volume; moving: Volume }[]> {
  const some = realCases().filter((c, i, all) => kindOf(c) === 'cardiac' || all.findIndex((other) => kindOf(other) === kindOf(c)) === i);
  if (!some.length) return [{ name: 'the phantom brain', ...phantom('brain', [80, 96, 112], 1) }];
  return Promise.all(
    some.map(async ({ name, fixed, moving }) => ({ name, fixed: await readVolume(fixed), moving: await readVolume(moving) })),
  );
}

/** Every solver's curve on every level. */
async function solve(gpu: Gpu, fixed: Volume, moving: Volume): Promise<{ factor: number; curves: Curve[] }[]> {
  const options = resolveOptions({}, fixed);
  const graph = new Graph();
  const f = graph.input('fixed', [1, 1, ...shapeOf(fixed)]),
    m = graph.input('moving', [1, 1, ...shapeOf(moving)]);
  const windows = [fixed, moving].map((v) => intensityWindow(v.data));
  const levels: { factor: number; runs: [string, Iteration][] }[] = [];
  let coarser: { u: Tensor; grid: Level } | undefined;
  options.levels.forEach((factor, i) => {
    const [grid, movingGrid] = [fixed, moving].map((v) => levelGrid(v, levelSpacing(fixed, factor))) as [Level, Level];
    const images = graph.phase(`images ${factor}`, () => {
      const [a, b] = [f, m].map((x, k) => resize(applyWindow(x, windows[k].low, windows[k].high), shapeOf([grid, movingGrid][k])));
      return {
        fixed: localStatistics(a, options.window),
        moving: withGradient(centre(b)),
        matrix: matrixBetween(grid, movingGrid),
        ratios: spacingRatios(grid),
      };
    });
    const from = coarser;
    const initial = from && (() => resizeDisplacement(from.u, from.grid, grid));
    const { step, softness, smoothing } = options;
    const cell = variationalCell(images, { lambda: options.lambda[i], step, softness, smoothing });
    const runs = solvers.map(([name, method]): [string, Iteration] => [
      name,
      traceIteration(graph, `${name} ${factor}`, method, [1, 3, ...shapeOf(grid)], cell, initial),
    ]);
    coarser = { u: runs[0][1].best, grid };
    levels.push({ factor, runs });
  });
  graph.phase('end', () => graph.output(scale(coarser!.u, 1)));

  const schedule = await Schedule.build(gpu, graph);
  schedule.upload(f, fixed.data);
  schedule.upload(m, moving.data);
  const found: { factor: number; curves: Curve[] }[] = [];
  for (const { factor, runs } of levels) {
    schedule.run(`images ${factor}`);
    const curves: Curve[] = [];
    for (const [solver, iteration] of runs) {
      const similarities: number[] = [];
      const rule = { maxIterations: EVALUATIONS, rtol: 0, atol: 0, patience: EVALUATIONS, divergence: Infinity };
      const { residuals } = await iterate(schedule, iteration, rule, (step) => similarities.push(step.monitor!));
      curves.push({ solver, residuals, similarities });
    }
    found.push({ factor, curves });
  }
  schedule.destroy();
  return found;
}

/** The evaluations to the first value that is good. */
const reached = (values: number[], good: (v: number) => boolean) => {
  const i = values.findIndex(good);
  return i < 0 ? `> ${values.length}` : i + 1;
};
const least = ({ residuals }: Curve) => Math.min(...residuals);
const ending = ({ residuals }: Curve) => median(residuals.slice(-LAST));
const voxels = (residual: number) => residual.toPrecision(2);

/** To the smallest residual that any plain iteration reaches: its evaluations, and Anderson's; and where both dampings of Anderson end. */
function finding(where: string, [anderson, undamped, ...plain]: Curve[]): string {
  const best = plain.reduce((a, b) => (least(b) < least(a) ? b : a));
  const to = (curve: Curve) => reached(curve.residuals, (r) => r <= least(best));
  return (
    `- **${where}**: the smallest residual of any plain iteration is ${voxels(least(best))} voxel (${best.solver}, ${to(best)} evaluations). ` +
    `Anderson takes ${to(anderson)} to it, comes to ${voxels(least(anderson))}, and ends at ${voxels(ending(anderson))}; with β = 1 at ${voxels(ending(undamped))}.`
  );
}

/** Both dampings of Anderson over all levels. */
function damping(all: Curve[][]): string {
  const ends = all.map(([damped, undamped]) => [ending(damped), ending(undamped)] as const);
  const lower = ends.filter(([damped, undamped]) => damped < undamped).length;
  const worst = [0, 1].map((i) => voxels(Math.max(...ends.map((both) => both[i]))));
  return `**After ${EVALUATIONS} evaluations Anderson with β = ${BETA} has the lower residual on ${lower} of ${ends.length} levels; the highest is ${worst[0]} voxel, with β = 1 ${worst[1]}.**`;
}

function summary(curves: Curve[]): string {
  const targets = [0.02, 0.01, 0.005, 0.002];
  // The same similarity: all but 1 % of the gain from the start to Anderson's last iterate.
  const { similarities } = curves[0];
  const last = similarities.at(-1)!;
  const goal = last - 0.01 * (last - similarities[0]);
  return table(
    [
      'solver',
      ...targets.map((t) => `evaluations to ${t}`),
      'smallest residual',
      'residual in the end',
      `evaluations to LNCC ${goal.toFixed(4)}`,
      'last LNCC',
    ],
    curves.map((c) => [
      c.solver,
      ...targets.map((t) => reached(c.residuals, (r) => r <= t)),
      voxels(least(c)),
      voxels(ending(c)),
      reached(c.similarities, (s) => s >= goal),
      c.similarities.at(-1)!.toFixed(4),
    ]),
  );
}
