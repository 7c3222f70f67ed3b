// The byte ledger: how much GPU memory is allocated now and was at most, by what it is for.

/**
 * What a buffer is for. `staging` is what the CPU maps to read results; everything else lives on the device only. A buffer that
 * serves several purposes in turn counts for the first of them in this list.
 */
export const tags = ['weight', 'optimizer', 'history', 'adjoint', 'input', 'activation', 'workspace', 'staging'] as const;
export type Tag = (typeof tags)[number];

/** Bytes by tag, and their sum. */
export interface Bytes {
  total: number;
  byTag: Record<Tag, number>;
}

export const noBytes = (): Bytes => ({ total: 0, byTag: Object.fromEntries(tags.map((tag) => [tag, 0])) as Record<Tag, number> });

/** Counts every buffer that is created and destroyed. `peak` is the state at the moment when the total was largest. */
export class Ledger {
  live = noBytes();
  peak = noBytes();

  add(tag: Tag, bytes: number): void {
    this.live.byTag[tag] += bytes;
    this.live.total += bytes;
    if (this.live.total > this.peak.total) this.peak = { total: this.live.total, byTag: { ...this.live.byTag } };
  }

  remove(tag: Tag, bytes: number): void {
    this.live.byTag[tag] -= bytes;
    this.live.total -= bytes;
  }

  /** Forgets the peak, so that the next measurement starts from what is live now. */
  reset(): void {
    this.peak = { total: this.live.total, byTag: { ...this.live.byTag } };
  }
}
