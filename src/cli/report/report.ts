// report.html: one self-contained page; its script (page.ts) draws everything from the JSON embedded here.
import licence from 'uplot/LICENSE';
import type { Report } from '../metrics.ts';
import type { Content, Pictures } from './content.ts';
import { commandLine, htmlPage } from './html.ts';
import script from './page.ts?bundle';

/** The whole page. */
export function reportPage(report: Report, pictures: Pictures, args: readonly string[]): string {
  const content: Content = { command: commandLine('register', args), made: new Date().toISOString(), report, pictures, licence };
  return htmlPage('deqreg report', content, script);
}
