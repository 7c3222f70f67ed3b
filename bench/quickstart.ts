// The synthetic pair of the quickstart: its figures and pictures, as the README shows them.
//   node build.mjs bench quickstart
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openGpu } from '../src/node.ts';
import type { Report } from '../src/cli/metrics.ts';
import { reportName, table, writeReport } from './report.ts';

/** Runs, each a process of its own. */
const RUNS = 3;

export async function main(): Promise<void> {
  const gpu = await openGpu();
  const { info } = gpu;
  gpu.close();
  const folder = mkdtempSync(join(tmpdir(), 'deqreg-quickstart-'));
  const at = (...parts: string[]) => join(folder, 'quickstart', ...parts);
  try {
    const runs = Array.from({ length: RUNS }, (): Report => {
      const { status, stderr } = spawnSync(process.execPath, [resolve('dist/deqreg.js'), 'quickstart'], { cwd: folder, encoding: 'utf8' });
      if (status !== 0) throw new Error(`deqreg quickstart: ${stderr}`);
      return JSON.parse(readFileSync(at('result', 'metrics.json'), 'utf8'));
    });
    const { dice, hd95, tre, foldingPercent, ndvPercent, sdLogJ, solver } = runs[0];
    const name = reportName('quickstart', info);
    writeReport(
      'quickstart',
      'The quickstart',
      info,
      'node build.mjs bench quickstart',
      [
        `**Dice ${dice!.before.toFixed(2)} → ${dice!.mean.toFixed(2)}, landmarks ${tre!.before.toFixed(1)} → ${tre!.after.toFixed(1)} mm, ${foldingPercent ? `${foldingPercent} % folds` : 'no folds'}, in ${runs.map(({ seconds }) => seconds.total.toFixed(1)).join(', ')} s.**`,
        `A synthetic brain of 80 × 96 × 112 voxels and its deformed copy, registered by \`deqreg register\` with default options; seconds of ${RUNS} commands one after the other, files, metrics and report included.`,
        `![fixed, moving and warped image in three planes](${name}.png)`,
        `![difference images before and after](${name}-difference.png)`,
        table(
          ['', 'before', 'after'],
          [
            ['Dice', dice!.before.toFixed(4), dice!.mean.toFixed(4)],
            ['HD95, mm', '', hd95!.mean.toFixed(2)],
            ['TRE, mm', tre!.before.toFixed(2), tre!.after.toFixed(2)],
            ['folds, %', '', foldingPercent.toFixed(4)],
            ['non-diffeomorphic volume, %', '', ndvPercent.toFixed(4)],
            ['SDlogJ', '', sdLogJ.toFixed(3)],
          ],
        ),
        table(
          ['level', 'verdict', 'evaluations', 'RMS residual, voxel', 'tolerance'],
          solver.levels.map(({ factor, result, iterations, residual, tolerance }) => [
            `1/${factor}`,
            result,
            iterations,
            residual.toFixed(4),
            tolerance,
          ]),
        ),
      ],
      { '.png': readFileSync(at('images.png')), '-difference.png': readFileSync(at('difference.png')) },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}
