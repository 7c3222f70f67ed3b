// ITK-Wasm's build of elastix, in a Node process of its own (itk_wasm.mjs). It is no dependency of the project, but installed on demand.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Inputs } from '../../src/cli/inputs.ts';
import { readVolume } from '../../src/io/files.ts';
import type { Case } from '../../test/data.ts';
import { budgeted } from './elastix.ts';
import { fieldOf, type Parameters } from './elastix_transform.ts';
import { type Proof, warpedDifference } from './field.ts';
import { command, type Finished } from './process.ts';

const FOLDER = 'dist/peers';
const PACKAGES = ['@itk-wasm/elastix@1.0.1', '@itk-wasm/image-io@1.6.1'];
const manifest = join(FOLDER, 'node_modules/@itk-wasm/elastix/package.json');

export const ITK_WASM = 'node build.mjs bench registration --install-peers';
export const hasItkWasm = (): boolean => existsSync(manifest);
export const itkWasmVersion = (): string => JSON.parse(readFileSync(manifest, 'utf8')).version;

/** Installs the packages with npm into a folder that git ignores; their scripts do not run. */
export async function installItkWasm(): Promise<void> {
  if (hasItkWasm()) return;
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, 'package.json'), '{ "private": true }\n');
  await command('npm', ['install', '--prefix', FOLDER, '--ignore-scripts', '--no-audit', '--no-fund', ...PACKAGES]);
}

export function runItkWasm(c: Case, _: Inputs, out: string, share = 1): Promise<Finished> {
  mkdirSync(out, { recursive: true });
  return command(process.execPath, ['bench/peers/itk_wasm.mjs', FOLDER, c.fixed, c.moving, out, ...budgeted(c, out, share)]);
}

export async function itkWasmField(_: Case, { fixed, moving }: Inputs, out: string): Promise<{ u: Float32Array; proof: Proof }> {
  const chain: Parameters[] = JSON.parse(readFileSync(join(out, 'transform.json'), 'utf8'));
  const u = fieldOf(chain, fixed);
  return { u, proof: { image: warpedDifference(await readVolume(join(out, 'result.nii')), u, fixed, moving) } };
}
