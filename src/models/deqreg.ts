// The learned cell: f(u) = G_λ[v + u∘(id + v)], v a short step that a small U-Net makes of u, the similarity's step, fixed and warped. Our
// reconstruction of DEQReg (arXiv 2507.00582): two resolutions, leaky ReLU 0.2, and a last layer that starts by passing the similarity's
// step. As in the classical cell, steps are smooth, bounded and composed, so that the map does not fold, and diffusion makes it contract
// where images say nothing.
import type { Graph } from '../graph/graph.ts';
import { compose, concat, gaussian, resize, scale, softNormalize } from '../ops/index.ts';
import {
  type Cell,
  cellOf,
  type CellOptions,
  checkCell,
  convolve,
  diffusionSigma,
  layer,
  type LevelImages,
  sigmas,
  similarityStep,
  storedAs,
} from './cell.ts';
import { type Initialiser, normal, Parameters } from './parameters.ts';

/** Channels that the network sees: u (3), the similarity's step (3), fixed and warped (1 each). */
const INPUTS = 8;
/** Displacements enter in units of this many voxels. */
const DISPLACEMENT = 4;
/** The last layer starts as small noise plus this much of the similarity's step: an untrained cell is nearly the classical one. */
const LAST_SD = 1e-3;
const PASSED = 0.4;
/** Longest step, and σ of the Gaussian that smooths it, in voxels of the finest axis. */
const LIMIT = 0.5;
const SMOOTHING = 0.5;
/** Diffusion regularisation a step, in voxel² of the finest axis, where a level does not say. */
const LAMBDA = 0.1;

/**
 * Initial weights [3, channels + 3, 3, 3, 3] of the last layer, whose last three inputs are the step: their centre tap, 13 of 27, passes
 * it.
 */
const passingStep: Initialiser = (shape, random) => {
  const data = normal(LAST_SD)(shape, random);
  const [components, inputs] = shape as [number, number];
  for (let c = 0; c < components; c++) data[(c * inputs + inputs - components + c) * 27 + 13] += PASSED;
  return data;
};

/**
 * Declares the cell's weights on a graph: `channels` at full resolution, twice as many at half. The last layer sees the similarity's step
 * too.
 */
export function deqreg(graph: Graph, options: CellOptions): Cell {
  checkCell('deqreg', options);
  const { channels, similarity, dtype } = options;
  const parameters = new Parameters(graph);
  const enter = layer(parameters, 'enter', INPUTS, channels),
    full = layer(parameters, 'full', channels, channels),
    down = layer(parameters, 'down', channels, 2 * channels),
    coarse = layer(parameters, 'coarse', 2 * channels, channels),
    join = layer(parameters, 'join', 2 * channels, channels),
    leave = layer(parameters, 'leave', channels + 3, 3, passingStep);
  const network = storedAs(dtype, (seen, step) => {
    const fine = convolve(convolve(seen, enter), full);
    const up = resize(convolve(convolve(fine, down, { stride: 2 }), coarse), fine.shape.slice(2) as [number, number, number]);
    return convolve([convolve([up, fine], join), step], leave, { activation: 'none' });
  });
  return cellOf(parameters, (images: LevelImages) => (u) => {
    const { step, warped, similarity: monitor } = similarityStep(images, u, similarity);
    const proposed = network(concat(scale(u, 1 / DISPLACEMENT), step, images.fixed.image, warped), step);
    const v = softNormalize(gaussian(proposed, sigmas(images, SMOOTHING)), LIMIT, LIMIT, images.ratios);
    return { next: gaussian(compose(u, v), sigmas(images, diffusionSigma(images.lambda ?? LAMBDA))), monitor };
  });
}
