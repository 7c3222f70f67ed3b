// report.html: one self-contained page; its script (page.ts) draws everything from the JSON embedded here.
import chartStyle from 'uplot/dist/uPlot.min.css';
import licence from 'uplot/LICENSE';
import type { Report } from '../metrics.ts';
import type { Content, Pictures } from './content.ts';
import script from './page.ts?bundle';
import style from './report.css';

/** The whole page. All text of the run is in the JSON, where `<` is escaped, and enters the page as text nodes only. */
export function reportPage(report: Report, pictures: Pictures, args: readonly string[]): string {
  const content: Content = {
    command: `deqreg register ${args.map(quoted).join(' ')}`,
    made: new Date().toISOString(),
    report,
    pictures,
    licence,
  };
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>deqreg report</title>
<style>${chartStyle}${style}</style>
</head>
<body>
<noscript>This report is drawn by its own script; allow scripts for this file.</noscript>
<script type="application/json" id="content">${JSON.stringify(content).replaceAll('<', '\\u003c')}</script>
<script>${script.replaceAll('</script', '<\\/script')}</script>
</body>
</html>
`;
}

/** As a POSIX shell reads it back. */
const quoted = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
