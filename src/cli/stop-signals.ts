// Signals to a long run: they ask it to stop where it can go on from.
import type { TrainProgress } from './train-progress.ts';

/** Exit codes of a run that a signal has stopped. */
export const STOPPED = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
type StopSignal = keyof typeof STOPPED;

/**
 * A signal asks to stop after the step under way, with a checkpoint; a second one ends at once, but for that of a terminal that goes, which
 * may come twice. What has been asked for.
 */
export function stopOnSignals(progress: TrainProgress): () => StopSignal | undefined {
  let asked: StopSignal | undefined;
  for (const signal of Object.keys(STOPPED) as StopSignal[]) {
    const [end] = process.listeners(signal);
    process.removeAllListeners(signal);
    process.on(signal, () => {
      if (asked && signal !== 'SIGHUP') end?.call(process, signal);
      asked ??= signal;
      progress.note(`${signal}: stopping after this step, with a checkpoint`);
    });
  }
  return () => asked;
}
