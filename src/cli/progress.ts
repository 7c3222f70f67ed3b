// What a registration tells while it runs, on stderr: one line that is updated on a terminal, a line a level elsewhere.
import { clearLine, cursorTo } from 'node:readline';
import type { Progress } from '../register/register.ts';

export interface Reporter {
  show(progress: Progress): void;
  /** Ends the report; call it also when the registration failed. */
  end(): void;
}

/** Share of the work from which on the time left is told: the first small levels say little about it. */
const TELLING = 0.05;

export function reporter(quiet: boolean): Reporter {
  if (quiet) return { show() {}, end() {} };
  return process.stderr.isTTY ? updatedLine() : lineALevel();
}

function updatedLine(): Reporter {
  const stream = process.stderr;
  let first: { time: number; fraction: number } | undefined;
  const clear = () => {
    cursorTo(stream, 0);
    clearLine(stream, 0);
  };
  return {
    show(progress) {
      const { level, levels, iteration, maxIterations, fraction } = progress;
      first ??= { time: performance.now(), fraction };
      const left = (((performance.now() - first.time) / 1e3) * (1 - fraction)) / (fraction - first.fraction);
      const line =
        `level ${level}/${levels}, iteration ${iteration}/${maxIterations}, ${figures(progress)}` +
        (fraction < TELLING ? '' : `, ${left < 1 ? '< 1' : Math.ceil(left)} s left`);
      clear();
      stream.write(line.slice(0, (stream.columns || 80) - 1));
    },
    end: clear,
  };
}

function lineALevel(): Reporter {
  const started = performance.now();
  let last: Progress | undefined;
  const finish = () => {
    if (!last) return;
    const seconds = (performance.now() - started) / 1e3;
    console.error(`level ${last.level}/${last.levels}: ${last.iteration} iterations, ${figures(last)}, ${seconds.toFixed(1)} s`);
  };
  return {
    show(progress) {
      if (last?.level !== progress.level) {
        finish();
        console.error(
          `level ${progress.level}/${progress.levels}: ${resolution(progress.factor)}, at most ${progress.maxIterations} iterations`,
        );
      }
      last = progress;
    },
    end: finish,
  };
}

const figures = ({ residual, similarity }: Progress) => `residual ${residual.toFixed(4)} voxel, LNCC ${similarity.toFixed(3)}`;
const resolution = (factor: number) => (factor === 1 ? 'full resolution' : `1/${factor} resolution`);
