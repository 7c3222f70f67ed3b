// How far a registration is, in words.
import type { Evaluation, Progress } from '../register/register.ts';

const STAGES = { affine: 'aligning', prepare: 'preparing', finish: 'warping' };
export const stageOf = (progress: Progress) =>
  'level' in progress
    ? `level ${progress.level}/${progress.levels}, iteration ${progress.iteration}/${progress.maxIterations}`
    : STAGES[progress.stage];
export const figures = ({ residual, similarity }: Evaluation) => `residual ${residual.toFixed(4)} voxel, LNCC ${similarity.toFixed(3)}`;
export const resolution = ({ factor, stage }: Evaluation) =>
  `${stage === 'refine' ? 'refine at ' : ''}${factor === 1 ? 'full resolution' : `1/${factor} resolution`}`;
