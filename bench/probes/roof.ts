// A row's time against what the adapter can do: the larger part of either peak, as the roofline model has it.
import type { Timing } from '../../src/index.ts';
import type { Peak } from './peak.ts';
import { type Description, type Row, variant } from './rows.ts';

/** A measured row, as `--json` writes it. `percentOfPeak` is that of `gflops` or of `gbps`, whichever is larger. */
export interface Result extends Pick<Row, 'kernel' | 'pass' | 'size' | 'channels' | 'dtype'> {
  variant: string;
  dispatches: number;
  ms: number;
  /** Convolutions only. */
  gflops: number | null;
  gbps: number;
  percentOfPeak: number;
  bound: 'FMA' | 'copy';
}

export function result({ kernel, pass, size, channels, dtype }: Row, work: Description, times: Timing[], peak: Peak): Result {
  const ms = times.reduce((sum, t) => sum + t.ms, 0);
  const longest = times.reduce((a, b, i) => (b.ms > times[a].ms ? i : a), 0);
  const [gflops, gbps] = [work.flop / ms / 1e6, work.bytes / ms / 1e6];
  const [arithmetic, memory] = [(100 * gflops) / peak.gflops, (100 * gbps) / peak.gbps];
  return {
    kernel,
    pass,
    size,
    channels,
    variant: variant(work.dispatches[longest]),
    dtype,
    dispatches: work.dispatches.length,
    ms,
    gflops: work.flop ? gflops : null,
    gbps,
    percentOfPeak: Math.max(arithmetic, memory),
    bound: arithmetic > memory ? 'FMA' : 'copy',
  };
}
