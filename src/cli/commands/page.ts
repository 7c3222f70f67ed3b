// deqreg page: a web page in one file that registers in the browser of whoever opens it.
import { basename, dirname } from 'node:path';
import { type Options, parse, UsageError } from '../args.ts';
import { withOutputs } from '../outputs.ts';
import script from '../page/register-page.ts?bundle';
import { htmlPage } from '../report/html.ts';

export const summary = 'write a web page, one file, that registers in the browser of whoever opens it';
export const usage = 'deqreg page --out FILE.html';
export const options = {
  out: {
    value: 'FILE',
    parse: pageName,
    required: true,
    help: 'the page; it needs no server, and images stay on the computer that opens it',
  },
} satisfies Options;

function pageName(path: string): string {
  if (!/\.html?$/i.test(path)) throw new UsageError(`${path}: the name must end in .html`);
  return path;
}

export async function run(args: string[]): Promise<number> {
  const { out } = parse(options, args);
  await withOutputs(dirname(out), (write) => write(basename(out), htmlPage('deqreg', {}, script)));
  console.log(`${out}: open it in a browser with WebGPU, such as Chrome, Edge or Safari 26`);
  return 0;
}
