// Elements of the page, made from text: nothing here is ever parsed as HTML.
type Child = Node | string;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export const div = (className: string, ...children: Child[]) => element('div', { className }, ...children);

export const section = (title: string, note: Child, ...children: Child[]) =>
  element('section', {}, element('h2', {}, title), element('p', { className: 'note' }, note), ...children);

/** A number to some decimals, or a dash where there is none. */
export const fixed = (value: number | null | undefined, decimals: number) =>
  typeof value === 'number' && Number.isFinite(value) ? value.toFixed(decimals).replace('-', '−') : '–';

/** Three significant digits. */
export const short = (value: number | null | undefined) => (typeof value === 'number' ? String(Number(value.toPrecision(3))) : '–');

/** A table with a heading row; numbers are set to the right by their column. */
export function table(head: Child[], rows: Child[][]): HTMLTableElement {
  const row = (tag: 'th' | 'td', cells: Child[]) => element('tr', {}, ...cells.map((cell) => element(tag, {}, cell)));
  return element('table', {}, element('thead', {}, row('th', head)), element('tbody', {}, ...rows.map((cells) => row('td', cells))));
}

/** A figure that one looks at first: its name, the value, and what to know of it. */
export const figure = (label: string, value: string, more: string) =>
  div('figure', div('label', label), div('value', value), div('more', more));

/** Text with the colour of what it names in a chart. */
export function swatch(colour: string, text: string): HTMLElement {
  const square = element('i', { className: 'swatch' });
  square.style.background = colour;
  return element('span', {}, square, ` ${text}`);
}

/** The licence of what draws the charts. */
export const credits = (licence: string) =>
  element(
    'footer',
    {},
    'Charts are drawn by uPlot. ',
    element('details', {}, element('summary', {}, 'Licence of uPlot'), element('pre', {}, licence)),
  );

/** Name and value a row. */
export function pairs(rows: [string, string][]): HTMLTableElement {
  const row = ([name, value]: [string, string]) => element('tr', {}, element('th', { scope: 'row' }, name), element('td', {}, value));
  return element('table', { className: 'listing' }, element('tbody', {}, ...rows.map(row)));
}

/** Name and value a row, for whatever an object holds; nested names are joined by a space. */
export const listing = (object: object) => pairs(Object.entries(flat(object)));

function flat(value: unknown, name = ''): Record<string, string> {
  if (Array.isArray(value) && !value.some((item) => item instanceof Object)) {
    const rows = value.length === 12 ? [0, 4, 8].map((row) => value.slice(row, row + 4)) : [value]; // 12 numbers: a 3×4 matrix
    return { [name]: rows.map((row) => row.map(show).join(', ')).join('\n') };
  }
  if (!(value instanceof Object)) return { [name]: show(value) };
  return Object.assign({}, ...Object.entries(value).map(([key, inner]) => flat(inner, name ? `${name} ${key}` : key)));
}

const show = (value: unknown) =>
  typeof value === 'number' && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : String(value);
