/** As one would say it: seconds below a minute, then minutes, then hours too. */
export function duration(seconds: number): string {
  if (seconds < 1) return '< 1 s';
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}
