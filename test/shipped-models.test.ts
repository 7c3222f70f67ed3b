// The models in weights/ as a user has them: they load, and on phantoms that none has seen they converge and register without a fold.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readdirSync } from 'node:fs';
import { readModelFile } from '../src/cli/models.ts';
import { register } from '../src/index.ts';
import { type Vec3, voxelSpacing, voxelToVoxel } from '../src/io/affine.ts';
import { dice, jacobianStats, presentLabels, tre, warpLabels } from '../src/register/metrics.ts';
import { phantom } from '../src/register/phantom.ts';
import { gpu } from './gpu.ts';
import { at } from './root.ts';

const weights = readdirSync(at('weights')).filter((file) => file.endsWith('.safetensors'));
const size: Vec3 = [48, 56, 64];

test('there is one for brains and one for lungs', () => {
  assert.equal(weights.sort(), ['brain-mri.safetensors', 'lung-ct.safetensors']);
});

for (const [kind, file, measured] of [
  ['brain', 'brain-mri.safetensors', { dice: 0.838, tre: 1.91 }],
  ['lung', 'lung-ct.safetensors', { dice: 0.947, tre: 2.32 }],
] as const)
  test(`${file} registers a ${kind}`, async () => {
    const { model, card } = await readModelFile(at('weights', file));
    assert.ok(card.steps > 0 && card.licence && card.data);
    const pair = phantom(kind, size, 3);
    const { displacement, levels } = await register(await gpu(), pair.fixed, pair.moving, { method: 'deq', model });
    const toMoving = voxelToVoxel(pair.fixed.affine, pair.moving.affine);
    const labels = presentLabels(pair.fixedSeg.data, pair.movingSeg.data);
    const overlap = dice(pair.fixedSeg.data, warpLabels(pair.movingSeg.data, size, displacement, size, toMoving), labels).mean;
    const error = tre(pair.landmarks, displacement, size, toMoving, pair.moving).mean;
    assert.ok(overlap > measured.dice - 0.01, `Dice ${overlap}`);
    assert.ok(error < measured.tre + 0.1, `TRE ${error} mm, of voxels of ${voxelSpacing(pair.fixed.affine)} mm`);
    assert.is(jacobianStats(displacement, size).grid.foldingPercent, 0);
    const { result, residual, tolerance } = levels.at(-1)!;
    assert.is(result, 'converged', `residual ${residual}, tolerance ${tolerance}`);
  });

test.run();
