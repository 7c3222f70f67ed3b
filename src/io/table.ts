// Tables as text: lines of fields, separated by tabs, semicolons or commas, quoted as in RFC 4180.
import Papa from 'papaparse';

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

export interface Table {
  separator: string;
  /** Those with a field that is not empty; `line` from 1. */
  rows: { line: number; fields: string[] }[];
}

/**
 * The fields are without quotes and the blanks around them; a separator is what makes at least so many `columns` of the first line. Throws
 * `name:line: …` for quotes that do not match: what follows them would be taken for a part of the field.
 */
export function parseTable(name: string, text: string, columns: number): Table {
  const lines = text.replace(/\r\n?/g, '\n');
  const first = lines.split('\n').find((line) => line.trim()) ?? '';
  const separator = ['\t', ';', ','].find((mark) => first.split(mark).length >= columns) ?? ',';
  const quotable = lines.replace(new RegExp(`(^|${separator}) +(?=")`, 'gm'), '$1'); // blanks before a quote would make it part of the field
  let line = 0;
  const { data, errors } = Papa.parse<string[]>(quotable, { delimiter: separator, newline: '\n' });
  const rows = data.map((fields) => {
    const row = { line: line + 1, fields: fields.map((field) => field.trim()) };
    line += fields.join('').split('\n').length;
    return row;
  });
  const odd = errors.find(({ type }) => type === 'Quotes');
  if (odd) throw new Error(`${name}:${rows[odd.row!].line}: its quotes do not match`);
  return { separator, rows: rows.filter(({ fields }) => fields.some((field) => field)) };
}

/** The text of rows of cells; those that are undefined or null stay empty. */
export const encodeTable = (rows: readonly (readonly unknown[])[], separator = ','): string =>
  `${Papa.unparse(rows as unknown[][], { delimiter: separator, newline: '\n' })}\n`;

/** Is it a finite decimal number? */
export const isNumber = (field: string): boolean => NUMBER.test(field) && Number.isFinite(Number(field));
