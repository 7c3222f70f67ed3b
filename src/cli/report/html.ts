// A self-contained page: styles, the JSON it is drawn from, and the script that draws it.
import chartStyle from 'uplot/dist/uPlot.min.css';
import style from './report.css';

/**
 * The page of a script, which finds the content as JSON in #content. `<` is escaped in it, and its text enters the page as text nodes only.
 */
export function htmlPage(title: string, content: object, script: string): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
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

/** A command as a POSIX shell reads it back. */
export const commandLine = (name: string, args: readonly string[]) => ['deqreg', name, ...args.map(quoted)].join(' ');

const quoted = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
