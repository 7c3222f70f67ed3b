// Tables as text: lines of fields, separated by tabs, semicolons or commas, quoted as in RFC 4180.
import Papa from 'papaparse';

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

export interface Table {
  separator: string;
  /** Those with a field that is not empty; `line` from 1. */
  rows: { line: number; fields: string[] }[];
}

/** The fields are without quotes and the blanks around them; a separator is what makes at least so many `columns` of the first line. */
export function parseTable(text: string, columns: number): Table {
  const lines = text.replace(/\r\n?/g, '\n');
  const first = lines.split('\n').find((line) => line.trim()) ?? '';
  const separator = ['\t', ';', ','].find((mark) => first.split(mark).length >= columns) ?? ',';
  let line = 0;
  const rows = Papa.parse<string[]>(lines, { delimiter: separator, newline: '\n' }).data.map((fields) => {
    const row = { line: line + 1, fields: fields.map((field) => field.trim().replace(/^"(.*)"$/, '$1')) }; // blanks before a quote make it part of the field
    line += fields.join('').split('\n').length;
    return row;
  });
  return { separator, rows: rows.filter(({ fields }) => fields.some((field) => field)) };
}

/** The text of rows of cells; those that are undefined or null stay empty. */
export const encodeTable = (rows: readonly (readonly unknown[])[], separator = ','): string =>
  `${Papa.unparse(rows as unknown[][], { delimiter: separator, newline: '\n' })}\n`;

/** Is it a finite decimal number? */
export const isNumber = (field: string): boolean => NUMBER.test(field) && Number.isFinite(Number(field));
