import { applyAffine, invertAffine, lpsOf } from './affine.ts';
import { encodeTable, isNumber, parseTable } from './table.ts';
import type { Grid } from './volume.ts';

/** Corresponding points in voxels (i, j, k): n×3 each, `fixed` in the fixed image's grid and `moving` in the moving image's. */
export interface Landmarks {
  fixed: Float64Array;
  moving: Float64Array;
  names?: string[];
}

/**
 * A table with the columns [name,] fixed i, j, k, moving i, j, k, separated by tabs, semicolons or commas. Fields may be quoted. The first
 * line is a header when none of its fields is a number; its names say by i, j, k (`fixed_i`, `i1`) that points are in voxels, or by x, y, z
 * that they are in LPS mm, which become voxels by the images' grids. Throws `file:line: …` for other names, and for a row that is not six
 * numbers after an optional name.
 */
export function parseLandmarks(name: string, text: string, images?: { fixed: Grid; moving: Grid }): Landmarks {
  const { rows } = parseTable(name, text, 6);
  const header = rows.length && !rows[0].fields.some(isNumber) ? rows.shift()!.fields : undefined;
  const physical = header && axesOf(name, header) === 'xyzxyz';
  if (physical && !images)
    throw new Error(`${name}:1: its columns are in mm, by x, y, z, which become voxels by the images' grids: give these too`);
  if (!rows.length) throw new Error(`${name}: no landmarks; expected lines of fixed i, j, k and moving i, j, k in voxels`);

  const named = rows[0].fields.length === 7;
  const columns = named ? 7 : 6;
  const points = rows.map(({ line, fields }) => {
    const fail = (what: string): never => {
      throw new Error(`${name}:${line}: ${what}`);
    };
    if (fields.length !== columns) {
      fail(`${fields.length} columns, expected ${columns} (${named ? 'name, ' : ''}fixed i, j, k, moving i, j, k)`);
    }
    if (named && isNumber(fields[0]) && !/^\d+$/.test(fields[0])) fail(`the first of 7 columns is a name, got "${fields[0]}"`);
    return fields.slice(-6).map((field) => (isNumber(field) ? Number(field) : fail(`"${field}" is not a number`)));
  });
  const [toFixed, toMoving] = [images?.fixed, images?.moving].map((grid) => {
    const toVoxel = physical && grid && invertAffine(grid.affine);
    return (point: readonly number[]) => (toVoxel ? applyAffine(toVoxel, lpsOf(point)) : point); // LPS is its own way back
  });
  return {
    fixed: Float64Array.from(points.flatMap((point) => toFixed(point.slice(0, 3)))),
    moving: Float64Array.from(points.flatMap((point) => toMoving(point.slice(3)))),
    ...(named && { names: rows.map(({ fields }) => fields[0]) }),
  };
}

/** The axes that a header's names say, `ijkijk` or `xyzxyz`. Throws on other ones, another order of the columns, or other units. */
function axesOf(name: string, header: string[]): string {
  const [fixed, moving] = [/^(fix|target|reference)/i, /^(mov|source)/i].map((side) => header.findIndex((field) => side.test(field)));
  const expected = 'expected are [name,] fixed i, j, k, moving i, j, k in voxels, or fixed x, y, z, moving x, y, z in LPS mm';
  if (fixed >= 0 && moving >= 0 && moving < fixed)
    throw new Error(`${name}:1: its columns are ${header.join(', ')}: moving before fixed; ${expected}`);
  if (header.length === 7 && fixed === 0)
    throw new Error(`${name}:1: its columns are ${header.join(', ')}: the first of 7 is a name; ${expected}`);
  const physical = header.find((field) => /^[\w ]*[_ .([](mm|lps|ras)[)\]]?$/i.test(field));
  if (physical !== undefined)
    throw new Error(`${name}:1: its column ${physical} is named like no voxel index; ${expected}: name them fixed_x, …`);
  const axes = header.slice(-6).map(axisOf).join('');
  if (axes !== 'ijkijk' && axes !== 'xyzxyz')
    throw new Error(`${name}:1: its columns are ${header.join(', ')}, which do not say in what the points are; ${expected}`);
  return axes;
}

/** The axis that a column is named after: a letter of its own (`fixed_x`, `x1`, `Moving X`), or the last one (`fixedx`). */
function axisOf(column: string): string {
  const words = column.toLowerCase().match(/[a-z]+/g) ?? [];
  const letter = words.find((word) => /^[ijkxyz]$/.test(word)) ?? words.map((word) => /[ijkxyz]$/.exec(word)?.[0]).find(Boolean);
  return letter ?? '?';
}

/** The text that `parseLandmarks` reads, comma-separated. */
export function encodeLandmarks({ fixed, moving, names }: Landmarks): string {
  const count = fixed.length / 3;
  if (moving.length !== fixed.length || (names && names.length !== count)) {
    throw new Error(`landmarks: ${count} fixed points, ${moving.length / 3} moving points${names ? `, ${names.length} names` : ''}`);
  }
  const header = [...(names ? ['name'] : []), 'fixed_i', 'fixed_j', 'fixed_k', 'moving_i', 'moving_j', 'moving_k'];
  const rows = Array.from({ length: count }, (_, n) => [
    ...(names ? [names[n]] : []),
    ...fixed.subarray(3 * n, 3 * n + 3),
    ...moving.subarray(3 * n, 3 * n + 3),
  ]);
  return encodeTable([header, ...rows]);
}
