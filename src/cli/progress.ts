// What a registration prints while it runs, on stderr: one line that is updated on a terminal, a line a level elsewhere.
import type { Evaluation, Progress } from '../register/register.ts';
import { duration } from './duration.ts';
import { warn } from './inputs.ts';
import { figures, resolution, stageOf } from './stages.ts';
import { clearStatus, showStatus } from './status-line.ts';

export interface Reporter {
  show(progress: Progress): void;
  /** Ends the report; call it also when the registration failed. */
  end(): void;
}

/** Share of the work from which on the time left is shown: the first small levels say little about it. */
const TELLING = 0.05;

export function reporter(quiet: boolean): Reporter {
  if (quiet) return { show() {}, end() {} };
  return process.stderr.isTTY ? updatedLine() : lineALevel();
}

function updatedLine(): Reporter {
  let first: { time: number; fraction: number } | undefined;
  return {
    show(progress) {
      const { fraction } = progress;
      let line = stageOf(progress);
      if ('level' in progress) {
        first ??= { time: performance.now(), fraction };
        const done = fraction - first.fraction;
        const left = ((performance.now() - first.time) / 1e3) * ((1 - fraction) / done);
        line += `, ${figures(progress)}${fraction < TELLING || done <= 0 ? '' : `, ${duration(left)} left`}`;
      }
      showStatus(line);
    },
    end: clearStatus,
  };
}

/** The progress of many registrations, one after the other. */
export interface RunsReporter {
  /** A run begins; `done` are finished, those of earlier times included. */
  begin(label: string, done: number): void;
  show(progress: Progress): void;
  /** Tells warnings for good. */
  warn(lines: readonly string[]): void;
  /** It has ended; `outcome` stays on the terminal. */
  end(outcome: string): void;
  /** Clears what is shown of a run that did not end. */
  clear(): void;
}

export function runsReporter(quiet: boolean, total: number): RunsReporter {
  if (quiet) return { begin() {}, show() {}, warn() {}, end() {}, clear() {} };
  let label = '',
    began = 0,
    done = 0,
    fraction = 0;
  const finished: number[] = []; // ms a run
  const elapsed = () => performance.now() - began;
  /** ms left, by the mean of the runs so far, or by how far the first one is. */
  const left = () => {
    const each = finished.length ? finished.reduce((a, b) => a + b) / finished.length : fraction < TELLING ? NaN : elapsed() / fraction;
    return Math.max(each - elapsed(), 0) + each * (total - done - 1);
  };
  const update = (what: string) => {
    const time = left();
    showStatus(`${done + 1}/${total} ${label}: ${what}${Number.isFinite(time) ? `, ${duration(time / 1e3)} left` : ''}`);
  };
  return {
    begin(of, before) {
      [label, began, done, fraction] = [of, performance.now(), before, 0];
      update('reading');
    },
    show(progress) {
      fraction = progress.fraction;
      update(stageOf(progress));
    },
    warn(lines) {
      clearStatus();
      warn(lines);
    },
    end(outcome) {
      finished.push(elapsed());
      const rest = finished.reduce((a, b) => a + b) / finished.length;
      const more = total - done - 1;
      clearStatus();
      console.error(`${done + 1}/${total} ${label}: ${outcome}${more ? `; ${duration((rest * more) / 1e3)} left` : ''}`);
    },
    clear: clearStatus,
  };
}

function lineALevel(): Reporter {
  const started = performance.now();
  let last: Evaluation | undefined;
  const finish = () => {
    if (!last) return;
    const seconds = (performance.now() - started) / 1e3;
    console.error(`level ${last.level}/${last.levels}: ${last.iteration} iterations, ${figures(last)}, ${seconds.toFixed(1)} s`);
  };
  return {
    show(progress) {
      if (!('level' in progress)) return;
      if (last?.level !== progress.level) {
        finish();
        console.error(`level ${progress.level}/${progress.levels}: ${resolution(progress)}, at most ${progress.maxIterations} iterations`);
      }
      last = progress;
    },
    end: finish,
  };
}
