// What the command says of itself: the overview, each command's help, the version.
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deqreg } from './cli-run.ts';
import { at } from './root.ts';

test('help of every command, and version', async () => {
  const overview = await deqreg(tmpdir(), ['--help']);
  assert.equal([overview.code, overview.stderr], [0, '']);
  const names = (await readdir(at('src/cli/commands'))).map((file) => file.replace('.ts', ''));
  assert.ok(names.includes('register') && names.length > 10);
  for (const name of names) {
    assert.match(overview.stdout, new RegExp(`^  ${name} `, 'm'));
    const help = await deqreg(tmpdir(), [name, '--help']);
    assert.equal([help.code, help.stderr], [0, '']);
    assert.match(help.stdout, new RegExp(`^usage: deqreg ${name}`));
  }
  const version = await deqreg(tmpdir(), ['--version']);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});

test.run();
