// Points as a table: CSV whose columns x, y, z (mm) or i, j, k (voxels) are read, and all others kept.
import { encodeTable, isNumber, parseTable } from './table.ts';

export interface PointTable {
  /** Whether the columns are i, j, k: voxels of some grid, not mm. */
  voxels: boolean;
  /** n×3. */
  points: Float64Array;
  /** The same table with other points. */
  encode(points: Float64Array): string;
}

const AXES = ['xyz', 'ijk'];

/**
 * A table of points. Its header names the columns x, y, z or i, j, k (in any order, in any case); without a header the first three columns
 * are x, y, z. Throws `file:line: …` for what is no number.
 */
export function parsePoints(name: string, text: string): PointTable {
  const { separator, rows } = parseTable(name, text, 3);
  const header = rows.length && !rows[0].fields.some(isNumber) ? rows.shift()! : undefined;
  const places = AXES.map((axes) => [...axes].map((axis) => header?.fields.findIndex((field) => field.toLowerCase() === axis) ?? -1));
  const named = places.findIndex((columns) => columns.every((column) => column >= 0));
  if (header && named < 0)
    throw new Error(
      `${name}:${header.line}: its columns are ${header.fields.join(', ')}; expected are x, y, z in mm, or i, j, k in voxels`,
    );
  if (!rows.length) throw new Error(`${name}: no points; expected lines of x, y, z in mm, or, by a header, i, j, k in voxels`);
  const columns = header ? places[named] : [0, 1, 2];
  const points = rows.flatMap(({ line, fields }) =>
    columns.map((column) => {
      const field = fields[column] ?? '';
      if (!isNumber(field)) throw new Error(`${name}:${line}: "${field}" is not a number`);
      return Number(field);
    }),
  );
  const encode = (moved: Float64Array) => {
    const lines = rows.map(({ fields }, n) =>
      fields.map((field, column) => (columns.includes(column) ? rounded(moved[3 * n + columns.indexOf(column)]) : field)),
    );
    return encodeTable(header ? [header.fields, ...lines] : lines, separator);
  };
  return { voxels: named === 1, points: Float64Array.from(points), encode };
}

/** To a millionth of a mm or voxel. */
const rounded = (value: number): string => String(Number(value.toFixed(6)));
