// The pages that the command writes: what is embedded in one, and what Chromium, where there is one, makes of it.
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

export const browser = ['chromium', 'chromium-browser', 'google-chrome'].find((name) => spawnSync(name, ['--version']).status === 0);

/** The JSON from which the page's script draws. */
export const contentOf = (html: string) => JSON.parse(/<script type="application\/json" id="content">(.*)<\/script>/.exec(html)![1]);

/** References to anything outside the file; null where there is none. */
export const references = (html: string) => html.match(/.{0,60}(https?:\/\/|\bsrc\s*=|\bhref\s*=|@import|\burl\()/gi);

/** The page after its script has run, and what that wrote to the console; `folder` is for the browser's own files. */
export async function opened(file: string, folder: string): Promise<{ dom: string; console: string[] }> {
  const { stdout, stderr } = await promisify(execFile)(
    browser!,
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      `--user-data-dir=${join(folder, 'profile')}`,
      '--enable-logging=stderr',
      '--virtual-time-budget=20000',
      '--dump-dom',
      pathToFileURL(file).href,
    ],
    { maxBuffer: 2 ** 26 },
  );
  return { dom: stdout, console: stderr.split('\n').filter((line) => line.includes('CONSOLE')) };
}
