/**
 * What is left of a turn by the golden ratio: its multiples come to lie evenly, with no period that rows or columns of a grid could share.
 */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * At most about `most` of the numbers 0 … count − 1: all of them, or some that are spread evenly, whatever the extents of the grid that
 * they count.
 */
export function* scattered(count: number, most: number): Generator<number> {
  if (count <= most) for (let n = 0; n < count; n++) yield n;
  else for (let n = 0; n < most; n++) yield Math.floor(((n * GOLDEN) % 1) * count);
}
