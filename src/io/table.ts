// Tables as text: lines of fields, separated by tabs, semicolons or commas.

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

export interface Table {
  separator: string;
  /** Those with a field that is not empty; `line` from 1. */
  rows: { line: number; fields: string[] }[];
}

/** The fields are without quotes and the blanks around them; a separator is what makes at least so many `columns` of the first line. */
export function parseTable(text: string, columns: number): Table {
  const lines = text.split(/\r\n|\n|\r/);
  const first = lines.find((line) => line.trim()) ?? '';
  const separator = ['\t', ';', ','].find((mark) => first.split(mark).length >= columns) ?? ',';
  // A separator within quotes, which an odd number of them follows, is none.
  const rows = lines.map((line, n) => ({
    line: n + 1,
    fields: line.split(new RegExp(`${separator}(?=(?:[^"]*"[^"]*")*[^"]*$)`)).map((field) => field.trim().replace(/^"(.*)"$/, '$1')),
  }));
  return { separator, rows: rows.filter(({ fields }) => fields.some((field) => field)) };
}

/** Is it a finite decimal number? */
export const isNumber = (field: string): boolean => NUMBER.test(field) && Number.isFinite(Number(field));
