// The line of a terminal that tells how far something is: written over, and taken away.
import { clearLine, cursorTo } from 'node:readline';

const stream = process.stderr;

/** Columns that a line may have. */
export const width = (): number => (stream.columns || 80) - 1;

export function clearStatus(): void {
  if (!stream.isTTY) return;
  cursorTo(stream, 0);
  clearLine(stream, 0);
}

/** Writes a line over what is there, as much of it as fits. */
export function showStatus(line: string): void {
  clearStatus();
  if (stream.isTTY) stream.write(line.slice(0, width()));
}
