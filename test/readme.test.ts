// The README's programs, type-checked as its readers would have them.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { at } from './root.ts';

/** What a program takes from the text around it, or from the one before. */
const GLOBALS = `
declare const files: File[];
declare const fixedValues: Float32Array, movingValues: Float32Array;
declare const fileURLToPath: typeof import('node:url').fileURLToPath;
declare const gpu: import('deqreg').Gpu;
declare const fixed: import('deqreg').Volume, moving: import('deqreg').Volume;
${['Graph', 'grad', 'mse', 'plan', 'register', 'warp'].map((name) => `declare const ${name}: typeof import('deqreg').${name};`).join('\n')}
declare const readModel: typeof import('deqreg/node').readModel;
`;

test('every TypeScript program of the README compiles, strictly', () => {
  const programs = [...readFileSync(at('README.md'), 'utf8').matchAll(/^```ts\n(.*?)^```/gms)].map(([, text]) => text);
  assert.ok(programs.length >= 5, `${programs.length} programs`);
  mkdirSync(at('dist'), { recursive: true });
  const folder = mkdtempSync(at('dist', 'readme-'));
  try {
    programs.forEach((text, i) => writeFileSync(join(folder, `program-${i + 1}.ts`), `${text}\nexport {};\n`));
    writeFileSync(join(folder, 'globals.d.ts'), GLOBALS);
    const compilerOptions = {
      rootDir: '../..',
      noUnusedLocals: false,
      paths: { deqreg: ['../../src/index.ts'], 'deqreg/node': ['../../src/node.ts'] },
    };
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['*.ts', '../../src/wgsl.d.ts'] }),
    );
    const { status, stdout } = spawnSync(process.execPath, [at('node_modules/typescript/bin/tsc'), '-p', folder], { encoding: 'utf8' });
    assert.is(status, 0, stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
