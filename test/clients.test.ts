// Other programs read what the commands write: Debian's transformix (package elastix) and plastimatch warp the moving image with
// displacement.nii.gz as `warped.nii.gz` does, and nifti_tool (nifti-bin) finds no fault in any header. Skipped where they are missing.
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { applyAffine, composeAffine, voxelSpacing, voxelToVoxel } from '../src/io/affine.ts';
import { fromPhysical } from '../src/io/displacement.ts';
import { readDisplacement, readVolume, writeNifti } from '../src/io/files.ts';
import { encodeNifti } from '../src/io/nifti.ts';
import type { Grid } from '../src/io/volume.ts';
import { deqreg } from './cli-run.ts';

let folder = '';
const at = (...parts: string[]) => join(folder, ...parts);

/** Declares a test that needs a program, or says that it is skipped. */
function testWith(program: string, debianPackage: string, name: string, body: () => Promise<void>): void {
  const there = spawnSync(program, ['--version']).error === undefined;
  if (there) test(`${program}: ${name}`, body);
  else test.skip(`${program}: ${name}`, () => {});
  if (!there) console.log(`skipped: ${program} is not installed (Debian's package ${debianPackage})`);
}

function call(program: string, args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: 'utf8' });
  assert.is(status, 0, `${program} ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'deqreg-clients-'));
  const run = async (args: string) => {
    const { code, stderr } = await deqreg(folder, args.split(' '));
    assert.is(code, 0, stderr);
  };
  await run('phantom --out p --kind brain --size 40,48,56 --seed 1');
  // The moving image with k turned round and cut at its end, float32 so that nothing is rounded.
  const {
    size: [w, h, d],
    affine,
    data,
  } = await readVolume(at('p/moving.nii.gz'));
  const turned = new Float32Array(w * h * (d - 3));
  for (let k = 0; k < d - 3; k++) turned.set(data.subarray((d - 1 - k) * w * h, (d - k) * w * h), k * w * h);
  await writeNifti(
    at('p/moving.nii.gz'),
    encodeNifti({
      size: [w, h, d - 3],
      affine: composeAffine(affine, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, d - 1]),
      data: turned,
      dtype: 'float32',
    }),
  );
  await run('register --fixed p/fixed.nii.gz --moving p/moving.nii.gz --out o --inverse --no-report');
  await run('apply --moving p/moving.nii.gz --displacement o/displacement.nii.gz --out o/applied.nii');
  await run('jacobian --displacement o/displacement.nii.gz --out o/jacobian.nii.gz');
  await run('compose --first o/displacement.nii.gz --second o/inverse_displacement.nii.gz --out o/composed.nii.gz');
  for (const form of ['learn2reg', 'ras']) await run(`convert --in o/displacement.nii.gz --out o/${form}.nii.gz --from itk --to ${form}`);
});
test.after(() => rm(folder, { recursive: true }));

/** Compares a program's image with ours, where the moving image is. The values reach 187. */
async function agrees(theirs: string): Promise<void> {
  const [a, b, moving, field] = await Promise.all([
    readVolume(at(theirs)),
    readVolume(at('o/warped.nii.gz')),
    readVolume(at('p/moving.nii.gz')),
    readDisplacement(at('o/displacement.nii.gz')),
  ]);
  const u = fromPhysical(field.data, field),
    n = b.data.length,
    [w, h] = field.size,
    toMoving = voxelToVoxel(field.affine, moving.affine);
  let most = 0,
    compared = 0;
  for (let p = 0; p < n; p++) {
    const x = applyAffine(toMoving, [(p % w) + u[p], (Math.floor(p / w) % h) + u[n + p], Math.floor(p / (w * h)) + u[2 * n + p]]);
    if (!x.every((c, axis) => c >= 0 && c <= moving.size[axis] - 1)) continue;
    most = Math.max(most, Math.abs(a.data[p] - b.data[p]));
    compared++;
  }
  assert.ok(compared > 0.7 * n && most < 0.01, `${theirs}: ${most} at most, ${compared} of ${n} voxels compared`);
}

/** The grid of an image as elastix writes it: LPS mm, the directions column by column. */
function elastixGrid({ size, affine }: Grid): string[] {
  const lps = affine.map((value, n) => (n < 8 ? -value : value)),
    spacing = voxelSpacing(affine);
  const directions = [0, 1, 2].flatMap((column) => [0, 4, 8].map((row) => lps[row + column] / spacing[column]));
  return [
    `(Size ${size.join(' ')})`,
    '(Index 0 0 0)',
    `(Spacing ${spacing.join(' ')})`,
    `(Origin ${lps[3]} ${lps[7]} ${lps[11]})`,
    `(Direction ${directions.join(' ')})`,
  ];
}

testWith('transformix', 'elastix', 'DeformationFieldTransform warps as we do', async () => {
  await writeFile(
    at('transform.txt'),
    [
      '(Transform "DeformationFieldTransform")',
      '(DeformationFieldFileName "o/displacement.nii.gz")',
      '(DeformationFieldInterpolationOrder 1)',
      '(NumberOfParameters 0)',
      '(InitialTransformParametersFileName "NoInitialTransform")',
      '(HowToCombineTransforms "Compose")',
      '(FixedImageDimension 3)',
      '(MovingImageDimension 3)',
      '(FixedInternalImagePixelType "float")',
      '(MovingInternalImagePixelType "float")',
      '(UseDirectionCosines "true")',
      ...elastixGrid(await readVolume(at('p/fixed.nii.gz'))),
      '(ResampleInterpolator "FinalBSplineInterpolator")',
      '(FinalBSplineInterpolationOrder 1)',
      '(Resampler "DefaultResampler")',
      '(DefaultPixelValue 0)',
      '(ResultImageFormat "nii.gz")',
      '(ResultImagePixelType "float")',
      '',
    ].join('\n'),
  );
  await mkdir(at('t'));
  call('transformix', ['-in', 'p/moving.nii.gz', '-tp', 'transform.txt', '-out', 't']);
  await agrees('t/result.nii.gz');
});

testWith('plastimatch', 'plastimatch', 'warps as we do', async () => {
  call('plastimatch', [
    'warp',
    '--input',
    'p/moving.nii.gz',
    '--xf',
    'o/displacement.nii.gz',
    '--output-img',
    'plastimatch.nii.gz',
    '--interpolation',
    'linear',
    '--output-type',
    'float',
  ]);
  await agrees('plastimatch.nii.gz');
});

testWith('nifti_tool', 'nifti-bin', 'no fault in the header of any file that is written', async () => {
  const files = (await Promise.all(['p', 'o'].map(async (name) => (await readdir(at(name))).map((file) => join(name, file)))))
    .flat()
    .filter((file) => /\.nii/.test(file));
  assert.ok(files.length > 10, `${files}`);
  for (const file of files)
    assert.match(call('nifti_tool', ['-check_hdr', '-check_nim', '-infiles', file]), /header IS GOOD[^]*nifti_image IS GOOD/, file);
});

test.run();
