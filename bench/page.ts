// One page of all reports, bench/results/index.html: the two claims, then every report in an order that tells the story. No figure on it is
// from anywhere but the reports, and the same reports make the same bytes.
//   node build.mjs bench page
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Marked } from 'marked';
import style from './page.css';

export const RESULTS = 'bench/results';

/** Benches in the order of the page, with what each of them is called in the navigation. Others follow by name. */
const ORDER: Record<string, string> = {
  memory: 'Memory',
  stability: 'Stability',
  registration: 'Registration',
  quickstart: 'Quickstart',
  generalisation: 'Generalisation',
  gradients: 'Gradients',
  training: 'Training',
  solver: 'Solver',
  kernels: 'Kernels',
};

const INTRO = `# deqreg, measured

Deformable registration of 3-D medical images as an equilibrium: the displacement u is the fixed point of one small update, u = f(u), found by
an accelerated iteration on hand-written WebGPU kernels. Two things should follow from that, and this page is there to test them:

1. **Does training memory depend on the number of solver steps?** The gradient is taken at the fixed point, not through the steps towards it:
   [memory](#memory).
2. **Does the result stay when the solver runs on?** A fixed point is a place, not a number of steps: [stability](#stability) counts runs that do.

Then what it is good for ([registration](#registration)), and what it is made of: gradients, training, the solver, the kernels. Each report was
written by the bench whose command stands under its title, on the adapter and at the commit that stand there; charts have their values beside
them as CSV. Reports of different dates may be of different weights and kernels. Nothing here was typed in by hand, but for one note: the rows of
the kernels on an NVIDIA H100 were measured on several machines of that kind, at the commits that are named, and put together into one report.`;

interface Report {
  /** The file's name without .md, and the bench that wrote it. */
  name: string;
  bench: string;
  title: string;
  /** Date, commit, adapter, cores. */
  of: string;
  command: string;
  text: string;
}

/** The parts of a report as writeReport puts them together. Throws, naming it, on a file that is none. */
function parseReport(name: string, markdown: string): Report {
  const parts = /^# (.+)\n\n(.+)\n\n`(.+)`\n\n([\s\S]*)$/.exec(markdown);
  if (!parts) throw new Error(`${name}.md: not a report: its title, what it was made with and its command are expected first`);
  const [, title, of, command, text] = parts as unknown as string[];
  // What follows the bench in a name is an adapter, or a resolution.
  const bench = Object.keys(ORDER).find((known) => name === known || name.startsWith(`${known}-`)) ?? name;
  return { name, bench, title, of, command, text };
}

const escape = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');

/** Markdown as HTML: headings `below` levels down, tables that scroll, images that are not there told of in words. */
function html(markdown: string, below: number, exists: (file: string) => boolean): string {
  const marked = new Marked({ gfm: true });
  marked.use({
    walkTokens(token) {
      if (token.type === 'heading') token.depth = Math.min(6, token.depth + below);
    },
    renderer: {
      image: ({ href, text }) =>
        exists(href)
          ? `<img src="${escape(href)}" alt="${escape(text)}" loading="lazy">`
          : `<em>${escape(text)}: ${escape(href)} is missing</em>`,
    },
  });
  return (marked.parse(markdown, { async: false }) as string)
    .replaceAll('<table>', '<div class="wide"><table>')
    .replaceAll('</table>', '</table></div>')
    .trim();
}

/** The page of the reports of a folder, by name, and of the files beside them. */
export function pageOf(reports: ReadonlyMap<string, string>, files: readonly string[]): string {
  const names = [...reports.keys()].sort();
  const place = (bench: string) => (bench in ORDER ? Object.keys(ORDER).indexOf(bench) : Infinity);
  const all = names.map((name) => parseReport(name, reports.get(name)!));
  const benches = [...new Set(all.map(({ bench }) => bench))].sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
  const exists = (file: string) => files.includes(file);
  const csvs = files.filter((file) => file.endsWith('.csv'));
  /** Whose a file is: of the reports whose name it begins with, the one with the longest. */
  const ownerOf = (file: string) =>
    names.filter((name) => file === `${name}.csv` || file.startsWith(`${name}-`)).sort((a, b) => b.length - a.length)[0];
  const article = (report: Report, own: readonly Report[]): string => {
    const several = own.length > 1;
    const heading = own.every(({ title }) => title === report.title) ? adapterOf(report) : `${report.title} · ${adapterOf(report)}`;
    const data = csvs.filter((file) => ownerOf(file) === report.name).map((file) => `<a href="${escape(file)}">${escape(file)}</a>`);
    return [
      `<article id="${report.name === report.bench ? `${report.name}-report` : report.name}">`,
      ...(several ? [`<h3>${escape(heading)}</h3>`] : []),
      `<div class="of"><p>${escape(report.of)}</p><p><code>${escape(report.command)}</code></p>`,
      `<p><a href="${report.name}.md">${report.name}.md</a>${data.map((link) => ` · ${link}`).join('')}</p></div>`,
      html(report.text, several ? 2 : 1, exists),
      '</article>',
    ].join('\n');
  };
  const sections = benches.map((bench) => {
    const own = all.filter((report) => report.bench === bench).sort((a, b) => a.name.length - b.name.length);
    return `<section id="${bench}">\n<h2>${escape(own[0].title)}</h2>\n${own.map((report) => article(report, own)).join('\n')}\n</section>`;
  });
  const links = benches.map((bench) => `<li><a href="#${bench}">${ORDER[bench] ?? escape(bench)}</a></li>`);
  // A report that is not there is a word, not a link.
  const intro = INTRO.replace(/\[(\w+)\]\(#(\w+)\)/g, (link, word, bench) => (benches.includes(bench) ? link : word));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>deqreg, measured</title>
<style>
${style.trim()}
</style>
</head>
<body>
<header>
<div>
${html(intro, 0, exists)}
</div>
</header>
<nav>
<ul>
${links.join('\n')}
</ul>
</nav>
<main>
${sections.join('\n')}
</main>
</body>
</html>
`;
}

/** The adapter in the words of the report's line. */
const adapterOf = ({ of }: Report) => of.split(' · ')[2] ?? of;

/** The page of a folder as it stands. */
export function readPage(folder = RESULTS): string {
  const files = readdirSync(folder).sort();
  const names = files.filter((file) => file.endsWith('.md')).map((file) => file.slice(0, -3));
  return pageOf(new Map(names.map((name) => [name, readFileSync(join(folder, `${name}.md`), 'utf8')])), files);
}

/** Writes index.html; without a folder of results there is nothing to do. */
export function writePage(folder = RESULTS): void {
  if (existsSync(folder)) writeFileSync(join(folder, 'index.html'), readPage(folder));
}

export async function main(): Promise<void> {
  writePage();
  console.log(`${RESULTS}/index.html`);
}
