/**
 * Which labels the warp has lost, for people; empty where it has lost none. They have no HD95 (Infinity, in JSON null), nor has their mean.
 */
export function lostLabels({ perLabel }: { perLabel: Record<string, number | null> }): string {
  const lost = Object.keys(perLabel).filter((label) => !Number.isFinite(perLabel[label]));
  return lost.length ? `label${lost.length > 1 ? 's' : ''} ${lost.join(', ')} ${lost.length > 1 ? 'were' : 'was'} lost` : '';
}
