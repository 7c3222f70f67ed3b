/** A random solver budget for `maxIterations`: a whole number, uniform in min … max, from a seeded generator of [0, 1). */
export function drawIterations(random: () => number, min: number, max: number): number {
  if (!Number.isInteger(min) || !Number.isInteger(max) || min < 1 || max < min)
    throw new Error(`drawIterations: needs whole numbers 1 ≤ min ≤ max, got ${min}, ${max}`);
  return min + Math.floor(random() * (max - min + 1));
}
